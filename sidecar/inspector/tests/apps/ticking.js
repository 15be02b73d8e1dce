// Serves nobody, but proves by its ticks that its event loop turns.
setInterval(() => console.log('tick'), 20);
// A generator, which V8 doesn't inline into the timers' own code: an inlined callback has no frame.
function* spin() {
  const end = Date.now() + 10;
  while (Date.now() < end);
}
setInterval(() => spin().next(), 15);
console.log('ready');
