'use strict';
// Serves HTTP, is busy now and then, holds a heap that takes a second or two to walk, has two worker threads,
// and does what it hears: exit, close its inspector as another debugger could, or block in a native call.
const http = require('node:http');
const { Worker, isMainThread } = require('node:worker_threads');

function work(milliseconds) {
  const until = Date.now() + milliseconds;
  let sum = 0;
  while (Date.now() < until) sum += Math.sqrt(sum + 1);
  return sum;
}
setInterval(() => work(2), 50);

if (isMainThread) {
  for (let at = 0; at < 2; at++) new Worker(__filename);
  const held = [];
  for (let n = 0; n < 150_000; n++) held.push({ n, next: held[n - 1] });
  const server = http.createServer((_, response) => response.end(`${held.length}\n`));
  server.listen(0, '127.0.0.1', () => console.log(`ready ${server.address().port}`));
  process.stdin.on('data', text => {
    const heard = String(text);
    if (heard.includes('exit')) process.exit(7);
    if (heard.includes('close')) process._debugEnd();
    if (heard.includes('block')) require('node:child_process').execSync('sleep 4');
  });
}
