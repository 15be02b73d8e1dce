// Exits with code 7 when it is told to.
process.stdin.on('data', () => process.exit(7));
setInterval(() => {}, 10);
console.log('ready');
