// Serves nobody, but proves by its ticks that its event loop turns.
setInterval(() => console.log('tick'), 20);
// A generator: without one V8 inlines the callback into the timers' own code, and none of its frames are this file's.
function* spin() {
  const end = Date.now() + 10;
  while (Date.now() < end);
}
setInterval(() => spin().next(), 15);
// Not before Node's own start is over, which in part follows the script.
setImmediate(() => console.log('ready'));
