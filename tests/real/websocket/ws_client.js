// A client of Node's "ws" that holds one conversation and prints its results as one JSON object:
// node ws_client.js URL HOST-FIELD
'use strict';

const crypto = require('crypto');
const WebSocket = require('ws');

const [url, host] = process.argv.slice(2);
const seen = { upgrade: null };
const socket = new WebSocket(url, ['other', 's3gate.test'], {
    headers: { Host: host, Cookie: 'token=sealed; theme=dark' },
    origin: `http://${host}`,
    maxPayload: 64 * 1024 * 1024,
});

function next(event) {
    return new Promise((resolve, reject) => {
        socket.once(event, (...values) => resolve(values));
        socket.once('error', reject);
    });
}

async function echo(message) {
    const answer = next('message');
    socket.send(message);
    const [data, isBinary] = await answer;
    return { data, isBinary };
}

const sha256 = (data) => crypto.createHash('sha256').update(data).digest('hex');

async function main() {
    socket.once('upgrade', (response) => {
        seen.upgrade = response.statusCode;
    });
    await next('open');
    seen.protocol = socket.protocol;
    seen.extensions = socket.extensions;
    seen.server = JSON.parse((await echo('!seen')).data);
    const text = await echo('Grüße, 世界');
    seen.text = [text.data.toString(), text.isBinary];
    const random = crypto.randomBytes(1024 * 1024);
    const binary = await echo(random);
    seen.binary = [sha256(binary.data) === sha256(random), binary.isBinary];
    const letters = random.toString('base64').slice(0, 1024 * 1024);
    const long = await echo(letters);
    seen.long = [long.data.toString() === letters, long.isBinary];
    const pong = next('pong');
    socket.ping('from the client');
    seen.pong = (await pong)[0].toString();
    const [pinged, answered] = [next('ping'), next('message')];
    socket.send('!ping from-the-server');
    seen.ping = (await pinged)[0].toString();
    seen.pongSeen = (await answered)[0].toString();
    const closed = next('close');
    socket.close(4002, 'client is done');
    const [code, reason] = await closed;
    seen.close = [code, reason.toString()];
    console.log(JSON.stringify(seen));
}

main().catch((error) => {
    console.error(error);
    process.exit(1);
});
