'use strict';
// Keeps a little and drops much, and answers HTTP.
const http = require('node:http');

class KeptThing {
  constructor(n) { this.n = n; this.more = [n, n]; }
}
class Sentinel {}
globalThis.sentinel = new Sentinel();
const kept = ['a text that is kept: é世 "\\'];

function keepSome() {
  for (let i = 0; i < 200; i++) kept.push(new KeptThing(i));
  if (kept.length > 100_000) kept.length = 1;
}

function dropMuch() {
  let sum = 0;
  for (let i = 0; i < 30; i++) sum += new Array(1000).fill(i).length;
  return sum;
}

setInterval(() => { keepSome(); dropMuch(); }, 5);
setInterval(() => console.log('tick'), 50);
const server = http.createServer((_, response) => response.end('ok\n'));
server.listen(0, '127.0.0.1', () => console.log(`ready ${server.address().port}`));
