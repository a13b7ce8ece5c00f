// Clients of Socket.IO, that reach the balancers at the addresses given:
//
//   node clients.mjs CLIENTS PATIENCE HOST:PORT...
//
// A third of them poll and nothing else, the others poll and then go over to a
// WebSocket. For each line on stdin, all of them have the server count, and a
// line of JSON says what became of it. Each connection goes to the next of the
// addresses, and to another when that one refuses it. PATIENCE is how many
// milliseconds they wait for something before they count it as lost.
import http from 'node:http';
import net from 'node:net';
import {createInterface} from 'node:readline';

import {io} from 'socket.io-client';

const clients = Number(process.argv[2]);
const patience = Number(process.argv[3]);
const addresses = process.argv.slice(4).map((address) => {
  const [host, port] = address.split(':');
  return {host, port: Number(port)};
});
let next = 0;

class Front extends http.Agent {
  createConnection(options, done) {
    this.#connect(next++, addresses.length, done);
  }

  #connect(at, left, done) {
    const socket = net.connect(addresses[at % addresses.length]);
    socket.setNoDelay();
    const failed = (error) => (left > 1 ? this.#connect(at + 1, left - 1, done) : done(error));
    socket.once('error', failed);
    socket.once('connect', () => {
      socket.off('error', failed);
      done(null, socket);
    });
  }
}

const errors = [];
const sockets = [];
for (let i = 0; i < clients; i++) {
  const socket = io('http://app.example', {
    agent: new Front(),
    transports: i % 3 === 0 ? ['polling'] : ['polling', 'websocket'],
    reconnectionDelay: 20,
    reconnectionDelayMax: 200,
    forceNew: true,
  });
  const state = {socket, count: 0, sessions: 0};
  socket.on('connect', () => {
    state.count = 0;
    state.sessions++;
  });
  socket.on('connect_error', (error) => errors.push(`client ${i}: connecting: ${error.message} ${error.context?.responseText ?? ''}`));
  socket.on('disconnect', (reason, details) => errors.push(`client ${i}: ${reason}: ${details?.message ?? ''}`));
  sockets.push(state);
}

// settled is when a client has its session, or has given up waiting for one.
function settled(state) {
  if (state.socket.connected) return Promise.resolve();
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, patience);
    state.socket.once('connect', () => {
      clearTimeout(timer);
      resolve();
    });
  });
}

async function upgraded(state, i) {
  const engine = state.socket.io.engine;
  if (i % 3 === 0 || engine?.transport.name === 'websocket') return;
  await new Promise((resolve) => {
    const timer = setTimeout(resolve, patience);
    engine.once('upgrade', () => {
      clearTimeout(timer);
      resolve();
    });
  });
}

async function round() {
  errors.length = 0;
  let counted = 0;
  await Promise.all(sockets.map(async (state, i) => {
    await settled(state);
    await upgraded(state, i);
    try {
      const n = await state.socket.timeout(patience).emitWithAck('count');
      if (n === ++state.count) counted++;
      else errors.push(`client ${i}: counted ${n}; want ${state.count}`);
    } catch (error) {
      errors.push(`client ${i}: ${error.message}`);
    }
  }));
  return {
    counted,
    sessions: sockets.reduce((sum, state) => sum + state.sessions, 0),
    websockets: sockets.filter((state) => state.socket.io.engine?.transport?.name === 'websocket').length,
    errors: errors.slice(0, 10),
    failures: errors.length,
  };
}

for await (const line of createInterface({input: process.stdin})) {
  if (line === 'end') break;
  console.log(JSON.stringify(await round()));
}
for (const state of sockets) state.socket.disconnect();
process.exit(0);
