// An HTTP server that is slow in one function, and tells its parent how it fares: `ready PORT`, then `tick`.
const http = require('http');
// Called often, and too long to be inlined. V8 doesn't log code that was replaced on the stack (a hot loop)
// before the profiler's start, nor has an inlined function a frame: the caller would get the time of either.
function makeSlow(a, b, c, d) {
  a = Math.sqrt(a + b) + Math.sqrt(c + d); b = Math.sqrt(a + c) + Math.sqrt(b + d);
  c = Math.sqrt(a + d) + Math.sqrt(b + c); d = Math.sqrt(a + a) + Math.sqrt(b + b);
  a = Math.sqrt(a + b) - Math.sqrt(c + d); b = Math.sqrt(a + c) - Math.sqrt(b + d);
  c = Math.sqrt(a + d) - Math.sqrt(b + c); d = Math.sqrt(a + a) - Math.sqrt(b + b);
  a = Math.sqrt(a * b) + Math.sqrt(c * d); b = Math.sqrt(a * c) + Math.sqrt(b * d);
  c = Math.sqrt(a * d) + Math.sqrt(b * c); d = Math.sqrt(a * a) + Math.sqrt(b * b);
  a = Math.sqrt(a - b) + Math.sqrt(c - d); b = Math.sqrt(a - c) + Math.sqrt(b - d);
  c = Math.sqrt(a - d) + Math.sqrt(b - c); d = Math.sqrt(a - a) + Math.sqrt(b - b);
  a = Math.sqrt(a + b) - Math.sqrt(c + d); b = Math.sqrt(a + c) - Math.sqrt(b + d);
  c = Math.sqrt(a + d) - Math.sqrt(b + c); d = Math.sqrt(a + a) - Math.sqrt(b + b);
  for (let i = 0; i < 500; i++) a += Math.sqrt(b + i);
  return a + b + c + d;
}
function busy(milliseconds) {
  const until = Date.now() + milliseconds;
  while (Date.now() < until) makeSlow(1, 2, 3, 4);
}
http.createServer((_, response) => { busy(5); response.end('ok'); })
  .listen(0, '127.0.0.1', function () { console.log('ready ' + this.address().port); });
setInterval(() => { busy(10); console.log('tick'); }, 20);
process.stdin.on('data', text => {
  if (String(text).includes('exit')) process.exit(7);
  if (String(text).includes('block')) {
    console.log('blocking');
    require('child_process').execSync('sleep 12');
  }
});
