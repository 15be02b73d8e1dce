'use strict';
// Keeps a little, drops much, and holds HEAP_MIB of arrays of numbers: a heap that looks dangerous and isn't.
// Serves /, and tells a secret to nobody.
const http = require('node:http');

class KeptThing {
  constructor(n) { this.serial = n; this.secret = 'token 7 Zq7xKf9Lp2'; }
}
const kept = [];
const held = [];
for (let n = 0; n < Number(process.env.HEAP_MIB || 0) * 16; n++) held.push(new Array(8000).fill(n));

// Generators: V8 inlines none of them, so their allocations are theirs in every version.
function* keepSome() {
  for (let i = 0; i < 200; i++) kept.push(new KeptThing(i));
  if (kept.length > 50_000) kept.length = 1;
}

function* dropMuch() {
  let sum = 0;
  for (let i = 0; i < 30; i++) sum += new Array(1000).fill(i).length;
  yield sum;
}

setInterval(() => { for (const work of [keepSome, dropMuch]) [...work()]; }, 5);
http.createServer((_, response) => response.end(`${kept.length} ${held.length}\n`)).listen(8080);
