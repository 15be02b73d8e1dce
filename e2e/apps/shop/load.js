// Asks TARGET (http://host:port/path) for one answer after another on CONNECTIONS connections, and prints
// {"sent","answered","failed","p99"} each second: counts from the start, and the last second's latency in milliseconds. SPREAD=1: a new connection for each, so that a Service's pods all get some.
'use strict';
const http = require('node:http');

const target = new URL(process.env.TARGET);
const connections = Number(process.env.CONNECTIONS || 2);
const agent = new http.Agent({ keepAlive: !process.env.SPREAD, maxSockets: connections });
const counts = { sent: 0, answered: 0, failed: 0 };

let latencies = [];

function ask() {
  counts.sent++;
  const asked = performance.now();
  const again = () => setTimeout(ask, 5);
  const request = http.get(target, { agent, timeout: 20_000 }, (response) => {
    response.resume();
    response.on('end', () => {
      latencies.push(performance.now() - asked);
      if (response.statusCode === 200) counts.answered++;
      else counts.failed++;
      again();
    });
  });
  request.on('timeout', () => request.destroy(new Error('no answer in 20 s')));
  request.on('error', (error) => {
    counts.failed++;
    counts.lastError = error.message;
    setTimeout(ask, 200);
  });
}

for (let i = 0; i < connections; i++) ask();
setInterval(() => {
  latencies.sort((a, b) => a - b);
  counts.p99 = latencies[Math.floor(latencies.length * 0.99)];
  latencies = [];
  console.log(JSON.stringify(counts));
}, 1000);
