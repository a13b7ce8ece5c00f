// Ticket keys that `mintmark agent` (adapter kind: node) writes, for an HTTPS
// or TLS server of Node.js 18 or later:
//
//   import {createServer} from 'node:https';
//   import {useTicketKeys} from './ticket-keys.mjs';
//
//   const server = createServer({cert, key}, handler);
//   useTicketKeys(server, '/run/mintmark/ticket.keys');
//
// The file is read at once, when it is there, and again whenever it changes.
// Node.js holds one key: sessions of the one before end when it is replaced.
import {readFileSync, watch} from 'node:fs';
import {basename, dirname} from 'node:path';

const size = 48; // name, HMAC and AES keys of 16 bytes each

/**
 * Has server use the ticket keys in file from now on.
 * @param {import('node:tls').Server} server
 * @param {string} file
 * @returns {() => void} ends the watching
 */
export function useTicketKeys(server, file) {
  let last;
  const read = () => {
    let keys;
    try {
      keys = readFileSync(file);
    } catch (error) {
      if (error.code === 'ENOENT') return; // not written yet: Node's own keys serve until then
      throw error;
    }
    if (keys.length !== size || last?.equals(keys)) return;
    server.setTicketKeys(keys);
    last = keys;
  };
  read();
  // The directory, because the file is replaced and not written to.
  const watcher = watch(dirname(file), (event, name) => {
    if (name === null || name === basename(file)) read();
  });
  watcher.unref();
  return () => watcher.close();
}
