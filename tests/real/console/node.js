// One node of a stand-in for an object storage's web console: node node.js NAME HOST PORT STORE;
// prints READY.
//
// It behaves like the real one where that matters to a proxy: sessions are in a sealed cookie that
// every node understands, pages use XMLHttpRequest, uploads are multipart/form-data, live updates
// use one WebSocket whose server compares the host of Origin with Host. The nodes of a cluster
// share the folder STORE.
'use strict';

const crypto = require('crypto');
const fs = require('fs');
const http = require('http');
const path = require('path');
const { WebSocketServer } = require('ws');

const [name, host, port, store] = process.argv.slice(2);
const passphrase = process.env.CONSOLE_PBKDF_PASSPHRASE;
const secret = crypto.pbkdf2Sync(passphrase, 'console', 1000, 32, 'sha256');
const sha256 = (data) => crypto.createHash('sha256').update(data).digest('hex');

function seal(session) {
    const iv = crypto.randomBytes(12);
    const cipher = crypto.createCipheriv('aes-256-gcm', secret, iv);
    const text = Buffer.concat([cipher.update(JSON.stringify(session)), cipher.final()]);
    return Buffer.concat([iv, cipher.getAuthTag(), text]).toString('base64');
}

// The session of a request; null without a cookie that a node of this cluster sealed.
function sessionOf(request) {
    const match = /(?:^|; )token=([^;]*)/.exec(request.headers.cookie || '');
    try {
        const sealed = Buffer.from(match[1], 'base64');
        const cipher = crypto.createDecipheriv('aes-256-gcm', secret, sealed.subarray(0, 12));
        cipher.setAuthTag(sealed.subarray(12, 28));
        return JSON.parse(Buffer.concat([cipher.update(sealed.subarray(28)), cipher.final()]));
    } catch {
        return null;
    }
}

function list() {
    const names = fs.readdirSync(store).filter((entry) => !entry.startsWith('.')).sort();
    return names.map((entry) => {
        const data = fs.readFileSync(path.join(store, entry));
        return { name: entry, size: data.length, sha256: sha256(data) };
    });
}

// The one file of a multipart/form-data body.
function fileOf(request, body) {
    const boundary = /boundary=(.+)$/.exec(request.headers['content-type'] || '')[1];
    const begin = body.indexOf('\r\n\r\n') + 4;
    const end = body.lastIndexOf(`\r\n--${boundary}--`);
    const filename = /filename="([^"/\\]+)"/.exec(body.subarray(0, begin).toString())[1];
    return { filename, data: body.subarray(begin, end) };
}

function answer(response, status, body, headers = {}) {
    const text = typeof body === 'string' ? body : JSON.stringify(body);
    response.writeHead(status, {
        'Content-Type': typeof body === 'string' ? 'text/html; charset=utf-8' : 'application/json',
        'Content-Length': Buffer.byteLength(text),
        'Cache-Control': 'no-store',
        'X-Node': name,
        ...headers,
    });
    response.end(text);
}

function serve(request, response, body) {
    const route = `${request.method} ${request.url}`;
    if (route === 'GET /' || route === 'GET /page.js') {
        const file = request.url === '/' ? 'index.html' : 'page.js';
        const type = request.url === '/' ? 'text/html' : 'text/javascript';
        const text = fs.readFileSync(path.join(__dirname, file), 'utf8');
        answer(response, 200, text, { 'Content-Type': `${type}; charset=utf-8` });
        return;
    }
    if (route === 'POST /login') {
        const form = new URLSearchParams(body.toString());
        const isRight = form.get('user') === 'admin' && form.get('password') === 'sesame & more';
        const cookie = `token=${seal({ user: 'admin' })}; Path=/; HttpOnly; SameSite=Lax`;
        answer(response, 303, '', {
            Location: isRight ? '/' : '/#wrong',
            ...(isRight ? { 'Set-Cookie': cookie } : {}),
        });
        return;
    }
    const session = sessionOf(request);
    if (!session) {
        answer(response, request.url.startsWith('/api/') ? 401 : 404, { error: 'no session' });
    } else if (route === 'GET /api/v1/objects') {
        answer(response, 200, { user: session.user, objects: list() });
    } else if (route === 'POST /api/v1/upload') {
        const { filename, data } = fileOf(request, body);
        const hidden = path.join(store, `.${name}-${filename}`);
        fs.writeFileSync(hidden, data);
        fs.renameSync(hidden, path.join(store, filename));
        answer(response, 201, { name: filename, size: data.length, sha256: sha256(data) });
    } else if (route === 'GET /api/v1/seen') {
        answer(response, 200, request.headers);
    } else if (route === 'POST /api/v1/logout') {
        answer(response, 200, {}, { 'Set-Cookie': 'token=; Path=/; Max-Age=0; HttpOnly' });
    } else {
        answer(response, 404, { error: 'not here' });
    }
}

const server = http.createServer((request, response) => {
    const parts = [];
    request.on('data', (part) => parts.push(part));
    request.on('end', () => serve(request, response, Buffer.concat(parts)));
});

const live = new WebSocketServer({ noServer: true });

server.on('upgrade', (request, socket, head) => {
    const fields = 'Connection: close\r\nContent-Length: 0\r\n';
    const refuse = (status) => socket.end(`HTTP/1.1 ${status}\r\n${fields}\r\n`);
    const origin = request.headers.origin;
    if (request.url !== '/ws/objectManager') {
        refuse('404 Not Found');
    } else if (!sessionOf(request)) {
        refuse('401 Unauthorized');
    } else if (!origin || new URL(origin).host !== request.headers.host) {
        refuse('403 Forbidden');
    } else {
        live.handleUpgrade(request, socket, head, (webSocket) => {
            live.emit('connection', webSocket);
        });
    }
});

live.on('connection', (webSocket) => {
    webSocket.on('error', () => {});
    webSocket.on('message', (data) => {
        if (JSON.parse(data).ask === 'list') {
            webSocket.send(JSON.stringify({ node: name, objects: list() }));
        }
    });
    webSocket.send(JSON.stringify({ node: name, hello: true }));
});

// Every node tells its pages of an object that any node stored.
fs.watch(store, (event, file) => {
    if (file && !file.startsWith('.')) {
        for (const webSocket of live.clients) {
            webSocket.send(JSON.stringify({ node: name, changed: file }));
        }
    }
});

server.listen(Number(port), host, () => console.log('READY'));
