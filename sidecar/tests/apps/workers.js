'use strict';
// A main thread that only serves, and worker threads that work, each in a function of its own. The third
// stands in a system call, the second ends when it is told to.
const { Worker, isMainThread, threadId, parentPort, workerData } = require('node:worker_threads');
const http = require('node:http');

// Too long to be inlined: an inlined function has no frame.
const long = name => eval(`(function ${name}(a) { ${'a = Math.sqrt(a + 1);'.repeat(200)} return a; })`);

if (isMainThread) {
  const count = Number(process.argv[2] ?? 3);
  const workers = Array.from({ length: count }, (_, at) => new Worker(__filename, { workerData: { blocked: at === 2 } }));
  let online = 0;
  const server = http.createServer((_, response) => response.end('ok\n'));
  for (const worker of workers) {
    worker.on('online', () => {
      if (++online === count) {
        server.listen(0, '127.0.0.1', () => console.log(`ready ${server.address().port}`));
      }
    });
  }
  process.stdin.on('data', text => {
    const heard = String(text);
    if (heard.includes('exit')) process.exit(7);
    if (heard.includes('end')) workers[1].postMessage('end');
    if (heard.includes('more')) new Worker(__filename, { workerData: { blocked: false } });
  });
} else {
  const work = long(`work${threadId}`);
  const kept = [];
  parentPort.on('message', () => process.exit(0));
  if (workerData.blocked) {
    setTimeout(() => require('node:child_process').spawnSync('sleep', ['30']), 100);
  }
  setInterval(() => {
    const until = Date.now() + 10;
    while (Date.now() < until) work(1);
    for (let i = 0; i < 50 && kept.length < 1e6; i++) kept.push({ threadId, i });
  }, 20);
}
