// A WebSocket server of Node's "ws" (Debian: node-ws): echoes, and obeys messages that begin with
// "!". node ws_node.js NAME HOST PORT; prints READY when it listens. The same
// conversation as websockets_node.py.
'use strict';

const http = require('http');
const { WebSocketServer } = require('ws');

const [name, host, port] = process.argv.slice(2);
const closes = [];
let open = 0;

const server = http.createServer((request, response) => {
    const answers = {
        '/name': () => name,
        '/open': () => String(open),
        '/closes': () => JSON.stringify(closes),
    };
    const answer = answers[request.url];
    const body = answer ? answer() : 'not here';
    response.writeHead(answer ? 200 : 404, { 'Content-Length': Buffer.byteLength(body) });
    response.end(body);
});

const sockets = new WebSocketServer({
    server,
    maxPayload: 64 * 1024 * 1024,
    perMessageDeflate: { threshold: 1024 },
    handleProtocols: (offered) => (offered.has('s3gate.test') ? 's3gate.test' : false),
});

sockets.on('connection', (socket, request) => {
    open += 1;
    socket.on('close', (code, reason) => {
        open -= 1;
        closes.push({ target: request.url, code, reason: reason.toString() });
    });
    socket.on('error', () => {});
    socket.on('pong', (payload) => socket.send(`!pong ${payload}`));
    socket.on('message', (data, isBinary) => {
        const text = isBinary ? '' : data.toString();
        if (text === '!seen') {
            const headers = [];
            for (let i = 0; i < request.rawHeaders.length; i += 2) {
                headers.push([request.rawHeaders[i], request.rawHeaders[i + 1]]);
            }
            socket.send(JSON.stringify({
                name,
                target: request.url,
                headers,
                protocol: socket.protocol,
                deflate: socket.extensions.includes('permessage-deflate'),
            }));
        } else if (text.startsWith('!ping ')) {
            socket.ping(text.slice(6));
        } else if (text.startsWith('!close ')) {
            const [, code, ...reason] = text.split(' ');
            socket.close(Number(code), reason.join(' '));
        } else {
            socket.send(data, { binary: isBinary });
        }
    });
});

server.listen(Number(port), host, () => console.log('READY'));
