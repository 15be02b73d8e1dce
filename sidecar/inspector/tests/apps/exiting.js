// Exits with code 7 when it is told to.
process.stdin.on('data', () => process.exit(7));
setInterval(() => {}, 10);
// Not before Node's own start is over, which in part follows the script.
setImmediate(() => console.log('ready'));
