// A primary and two workers that are busy in burnCpu, half of the time each.
'use strict';
const cluster = require('node:cluster');

if (cluster.isPrimary) {
  cluster.fork();
  cluster.fork();
} else {
  require('./busy.js');
}
