// Allocates as fast as it can in many call paths, and keeps nothing; answers HTTP in between.
'use strict';
const http = require('node:http');
function down(depth, n) { return depth === 0 ? [{ n }, { n }, { n }] : (n & 1 ? left : right)(depth - 1, n >> 1); }
function left(depth, n) { return down(depth, n); }
function right(depth, n) { return down(depth, n); }
let turn = 0;
function churn() {
  const until = Date.now() + 40;
  while (Date.now() < until) for (let i = 0; i < 100; i++) down(6, turn++);
  setTimeout(churn, 1);
}
http.createServer((_, response) => response.end('ok'))
  .listen(0, '127.0.0.1', function () { console.log('ready ' + this.address().port); churn(); });
process.stdin.resume();
