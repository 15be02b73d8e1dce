// Takes SIGUSR1 for itself, and then answers on a port of its own as no inspector of this process does. Serves HTTP.
'use strict';
const { spawn } = require('node:child_process');
const crypto = require('node:crypto');
const http = require('node:http');
const net = require('node:net');

const mode = process.argv[2];
const blank = Buffer.alloc(64 << 10, ' ');

function forever(socket, bytes) {
  const go = () => { while (!socket.destroyed && socket.write(bytes)); };
  socket.on('drain', go);
  go();
}

function text(json) {
  const payload = Buffer.from(json);
  return Buffer.concat([Buffer.from([0x81, 126, payload.length >> 8, payload.length & 255]), payload]);
}

// What a client hears that took this for an inspector.
const after = {
  // Frames of 900 MiB and of 2 GiB.
  large: socket => {
    socket.write(Buffer.from([0x81, 127, 0, 0, 0, 0, 0x38, 0x40, 0, 0]));
    forever(socket, blank);
  },
  huge: socket => {
    socket.write(Buffer.from([0x81, 127, 0, 0, 0, 0, 0x80, 0, 0, 0]));
    forever(socket, blank);
  },
  noise: socket => forever(socket, crypto.randomBytes(64 << 10)),
  events: socket => {
    const event = JSON.stringify({ method: 'Runtime.consoleAPICalled', params: { type: 'x'.repeat(500) } });
    forever(socket, Buffer.concat(Array(100).fill(text(event))));
  },
};

function inspector() {
  const server = http.createServer((request, response) => {
    const { port } = server.address();
    response.end(JSON.stringify([{ webSocketDebuggerUrl: `ws://127.0.0.1:${port}/${crypto.randomUUID()}` }]));
  });
  server.on('upgrade', (request, socket) => {
    socket.on('error', () => {});
    const accept = crypto.createHash('sha1')
      .update(request.headers['sec-websocket-key'] + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11').digest('base64');
    socket.write(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
      `Sec-WebSocket-Accept: ${accept}\r\n\r\n`);
    after[mode](socket);
  });
  return server;
}

function raw(answer) {
  return net.createServer(socket => {
    socket.on('error', () => {});
    socket.resume();
    answer(socket);
  });
}

const open = {
  silent: () => raw(() => {}),
  garbage: () => raw(socket => forever(socket, crypto.randomBytes(64 << 10))),
  endless: () => raw(socket => {
    socket.write('HTTP/1.1 200 OK\r\n\r\n[');
    forever(socket, blank);
  }),
  // The inspector of another process, through and through.
  liar: () => net.createServer(socket => {
    const other = net.connect(theirs, '127.0.0.1');
    for (const one of [socket, other]) one.on('error', () => { socket.destroy(); other.destroy(); });
    socket.pipe(other).pipe(socket);
  }),
};

let theirs;
function ready() {
  const take = open[mode] ?? inspector;
  process.on('SIGUSR1', () => take().listen(0, '127.0.0.1', function () {
    console.log('opened ' + this.address().port);
  }));
  http.createServer((_, response) => response.end('ok'))
    .listen(0, '127.0.0.1', function () { console.log('ready ' + this.address().port); });
}
if (mode === 'liar') {
  const child = spawn(process.execPath, ['--inspect=127.0.0.1:0', '-e', 'setInterval(() => {}, 1000)'],
    { stdio: ['ignore', 'ignore', 'pipe'] });
  process.on('exit', () => child.kill('SIGKILL'));
  child.stderr.on('data', said => {
    const port = /127\.0\.0\.1:(\d+)\//.exec(String(said))?.[1];
    if (port && !theirs) { theirs = Number(port); ready(); }
  });
} else {
  ready();
}
process.stdin.resume();
