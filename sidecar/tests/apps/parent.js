// What `npm start` is: a Node that starts the Node that serves.
const child = require('child_process').spawn(
  process.execPath, ['--inspect-port=0', __dirname + '/server.js'], { stdio: ['pipe', 'inherit', 'inherit'] });
process.stdin.on('end', () => child.kill('SIGKILL')).resume();
process.on('exit', () => child.kill('SIGKILL'));
