// Serves nobody, but proves by its ticks that its event loop turns.
setInterval(() => console.log('tick'), 20);
function spin() {
  const end = Date.now() + 10;
  while (Date.now() < end);
}
setInterval(spin, 15);
console.log('ready');
