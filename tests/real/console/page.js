// The console's page: it shows everything that a test reads.
'use strict';

const at = (id) => document.getElementById(id);
const served = {};
let sockets = 0;
let failures = 0;

function note(what, node) {
    const key = `${what}: ${node}`;
    served[key] = (served[key] || 0) + 1;
    at('served').replaceChildren(...Object.entries(served).sort().map(([text, count]) => {
        const item = document.createElement('li');
        item.textContent = count > 1 ? `${text} × ${count}` : text;
        return item;
    }));
}

function ask(method, url, body, done) {
    const request = new XMLHttpRequest();
    request.open(method, url);
    request.onload = () => {
        note(`${method} ${url}`, request.getResponseHeader('X-Node'));
        done(request.status, JSON.parse(request.responseText));
    };
    request.onerror = () => {
        failures += 1;
        document.body.dataset.failures = failures;
    };
    request.send(body);
}

function show(objects) {
    at('objects').replaceChildren(...objects.map((object) => {
        const row = document.createElement('tr');
        for (const text of [object.name, object.size, object.sha256.slice(0, 16)]) {
            row.insertCell().textContent = text;
        }
        return row;
    }));
}

// Live updates: one WebSocket, reopened after a loss.
function watch() {
    const socket = new WebSocket(`ws://${location.host}/ws/objectManager`);
    socket.onmessage = (event) => {
        const message = JSON.parse(event.data);
        if (message.hello) {
            sockets += 1;
            at('live').className = '';
            at('live').textContent = `live updates from ${message.node} (connection ${sockets})`;
            note('WebSocket', message.node);
            socket.send(JSON.stringify({ ask: 'list' }));
        } else if (message.changed) {
            socket.send(JSON.stringify({ ask: 'list' }));
        } else {
            show(message.objects);
        }
    };
    socket.onclose = () => {
        at('live').className = 'lost';
        at('live').textContent = 'connection lost, trying again';
        setTimeout(watch, 300);
    };
}

at('upload').onclick = () => {
    const form = new FormData();
    form.append('file', at('file').files[0]);
    ask('POST', '/api/v1/upload', form, (status, object) => {
        at('uploaded').textContent = `${status} ${object.name} ${object.size} ${object.sha256}`;
    });
};
at('leave').onclick = () => ask('POST', '/api/v1/logout', null, () => location.reload());

ask('GET', '/api/v1/objects', null, (status, answer) => {
    at('login').hidden = status === 200;
    at('main').hidden = status !== 200;
    at('wrong').hidden = location.hash !== '#wrong';
    if (status === 200) {
        at('who').textContent = answer.user;
        show(answer.objects);
        watch();
    }
    document.body.dataset.ready = status;
});
