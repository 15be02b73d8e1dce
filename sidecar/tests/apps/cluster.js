'use strict';
// A primary and two workers that share a port; each worker is busy in makeSlow. The primary relays their ticks.
const cluster = require('node:cluster');
if (cluster.isPrimary) {
  let up = 0;
  for (let n = 0; n < 2; n++) cluster.fork().on('message', (port) => { if (++up === 2) console.log(`ready ${port}`); });
  setInterval(() => console.log('tick'), 50);
} else {
  const { setImmediate: soon } = require('node:timers');
  function* makeSlow() { for (let x = 0, n = 0; n < 20_000; n++) x += Math.sqrt(n + x); yield 1; }
  setInterval(() => { const until = Date.now() + 20; while (Date.now() < until) [...makeSlow()]; soon(() => {}); }, 40);
  const server = require('node:http').createServer((_, r) => r.end('ok')).listen(0, '127.0.0.1', () => process.send(server.address().port));
}
