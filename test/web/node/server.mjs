// A server of Socket.IO and of express-session, as their documentation has
// them but for the hooks:
//
//   node server.mjs HOST PORT ASSIGNMENT
//
// GET /strays tells how many requests came with the ID of a session that this
// server did not make.
import {createServer} from 'node:http';

import express from 'express';
import session from 'express-session';
import {Server} from 'socket.io';

import {openMint} from '../../../contrib/node/mint.mjs';

const [host, port, assignment] = process.argv.slice(2);
const mint = openMint(assignment);
const made = {sockets: new Set(), sessions: new Set()};
let strays = 0;

const app = express();
app.get('/strays', (req, res) => res.json(strays));
app.use((req, res, next) => {
  // s%3A<id>.<signature>
  const id = /connect\.sid=s%3A([^.;]+)/.exec(req.headers.cookie ?? '')?.[1];
  if (id !== undefined && !made.sessions.has(id)) strays++;
  next();
});
app.use(session({
  secret: 'of this server alone',
  resave: false,
  saveUninitialized: false,
  genid: () => {
    const id = mint.id();
    made.sessions.add(id);
    return id;
  },
}));
app.get('/count', (req, res) => {
  req.session.count = (req.session.count ?? 0) + 1;
  res.send(`${port} ${req.session.count}`);
});

const server = createServer(app);
const io = new Server(server);
io.engine.generateId = () => {
  const id = mint.id();
  made.sockets.add(id);
  return id;
};
io.engine.on('connection_error', ({req}) => {
  const sid = new URL(req.url, 'http://server').searchParams.get('sid');
  if (sid !== null && !made.sockets.has(sid)) strays++;
});
io.on('connection', (socket) => {
  let count = 0;
  socket.on('count', (answer) => answer(++count));
});
server.listen(port, host);
