// Session IDs for servers of Node.js 18 or later that Mintmark's balancers
// route by: each begins with a mark of this server. The mark comes from the
// state file of the Go SDK (package mint), or from the assignment that
// `mintmark plan` writes, and is read again whenever that file changes:
//
//   import {openMint} from './mint.mjs';
//
//   const mint = openMint('/run/mintmark/a.json');
//   app.use(session({secret, genid: () => mint.id()}));  // express-session
//   io.engine.generateId = () => mint.id();              // Socket.IO
//
// A mark says where an ID belongs and not that it is genuine: look IDs up in
// the application's own store, as always.
import {createCipheriv, createDecipheriv, randomBytes} from 'node:crypto';
import {readFileSync, watch} from 'node:fs';
import {basename, dirname} from 'node:path';

const randomSize = 16; // bytes of an ID that nobody can guess
const blockSize = 16; // of AES, and so of a sealed mark
const textSize = 22; // of a sealed mark as base64url
const sealedText = /^[A-Za-z0-9_-]{21}[AQgw]/; // the last character holds two bits

/**
 * Opens a server's state file, or assignment.
 * @param {string} file
 * @param {{watch?: boolean}} [options] watch: false reads the file only once
 * @returns {Mint}
 */
export function openMint(file, options = {}) {
  return new Mint(file, options.watch ?? true);
}

/** What one server mints. */
class Mint {
  #file;
  #keys = [];
  #minting;
  #watcher;

  constructor(file, watching) {
    this.#file = file;
    this.#read();
    if (!watching) return;
    // The directory, because the file is replaced and not written to.
    this.#watcher = watch(dirname(file), (event, name) => {
      if (name !== null && name !== basename(file)) return;
      try {
        this.#read();
      } catch (error) {
        process.emitWarning(`minting goes on as before: ${error.message}`, 'MintWarning');
      }
    });
    this.#watcher.unref();
  }

  /** Whether there is something to mint. */
  get ready() {
    return this.#minting !== undefined;
  }

  /**
   * A new ID: a mark and 128 random bits. Before the server has an assignment,
   * a random ID without a mark, which balancers treat as an ID of nobody.
   * @returns {string}
   */
  id() {
    const random = randomBytes(randomSize);
    return this.#minting ? this.#minting.id(random) : random.toString('base64url');
  }

  /**
   * An ID that the application made, behind a mark; as it is before the server
   * has an assignment. It must have 128 random bits or more of its own.
   * @param {string} id
   * @returns {string}
   */
  addMark(id) {
    return this.#minting ? this.#minting.mark() + id : id;
  }

  /**
   * An ID without the mark that addMark put before it, and undefined if it
   * begins with no mark of this server.
   * @param {string} id
   * @returns {string | undefined}
   */
  cutMark(id) {
    for (const key of this.#keys) {
      const size = key.markSize(id);
      if (size > 0) return id.slice(size);
    }
    return undefined;
  }

  /**
   * Whether an ID begins with a mark of this server that is still good. It says
   * nothing about the ID's being genuine.
   * @param {string} id
   * @returns {boolean}
   */
  owns(id) {
    return this.cutMark(id) !== undefined;
  }

  /** Ends the watching. */
  close() {
    this.#watcher?.close();
  }

  #read() {
    let text;
    try {
      text = readFileSync(this.#file, 'utf8');
    } catch (error) {
      if (error.code === 'ENOENT') return; // not written yet
      throw error;
    }
    let keys;
    try {
      const document = JSON.parse(text);
      keys = ((document.assignment ?? document).keys ?? [])
        .filter((key) => key.mark_key || key.text) // others are for connection IDs
        .map((key) => ({mint: key.mint, space: key.mark_key ? new Sealed(key) : new Constant(key)}));
    } catch (error) {
      throw new Error(`${this.#file} is damaged: ${error.message}`, {cause: error});
    }
    this.#keys = keys.map((key) => key.space);
    this.#minting = keys.find((key) => key.mint)?.space; // the newest stands first
  }
}

/** A space whose mark is the same for all IDs. */
class Constant {
  #text;

  constructor(key) {
    this.#text = key.text;
  }

  mark() {
    return this.#text;
  }

  id(random) {
    return this.#text + random.toString('hex');
  }

  markSize(id) {
    return id.startsWith(this.#text) ? this.#text.length : 0;
  }
}

/**
 * A space of the scheme sealed: each mark is one block of AES-128, of the
 * server's number (32 bits), 32 zero bits, and a nonce (64 bits) that counts up
 * from a random start.
 */
class Sealed {
  #key;
  #server;
  #nonce = randomBytes(8).readBigUInt64BE();

  constructor(key) {
    this.#key = Buffer.from(key.mark_key, 'base64');
    if (this.#key.length !== blockSize) throw new Error(`a mark key of ${this.#key.length} bytes; it has ${blockSize}`);
    this.#server = key.server_number ?? 0;
  }

  mark() {
    const plain = Buffer.alloc(blockSize);
    plain.writeUInt32BE(this.#server, 0);
    plain.writeBigUInt64BE(this.#nonce, 8);
    this.#nonce = BigInt.asUintN(64, this.#nonce + 1n);
    return oneBlock(createCipheriv, this.#key, plain).toString('base64url');
  }

  id(random) {
    return this.mark() + random.toString('base64url');
  }

  markSize(id) {
    if (!sealedText.test(id)) return 0;
    const plain = oneBlock(createDecipheriv, this.#key, Buffer.from(id.slice(0, textSize), 'base64url'));
    return plain.readUInt32BE(0) === this.#server && plain.readUInt32BE(4) === 0 ? textSize : 0;
  }
}

/** One block is what ECB is right for: there is nothing to chain. */
function oneBlock(create, key, block) {
  return create('aes-128-ecb', key, null).setAutoPadding(false).update(block);
}
