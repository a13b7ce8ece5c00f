// Run by mint/node_test.go, which passes the state file of a Go client in
// MINT_STATE, and IDs of it, one a line, in MINT_IDS. What Node.js mints goes
// to the file MINT_MADE, for Go to read.
import assert from 'node:assert/strict';
import {mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import test from 'node:test';

import {openMint} from './mint.mjs';

const go = {
  state: process.env.MINT_STATE,
  ids: process.env.MINT_IDS?.split('\n') ?? [],
  made: process.env.MINT_MADE,
};

function sealed(number, generation = 0) {
  return {
    generation, mint: true, server_number: number, name: Buffer.alloc(16).toString('base64'), text: 'unused',
    mark_key: Buffer.from('000102030405060708090a0b0c0d0e0f', 'hex').toString('base64'),
  };
}

function stateFile(t, ...keys) {
  const dir = mkdtempSync(join(tmpdir(), 'mint-'));
  t.after(() => rmSync(dir, {recursive: true}));
  const file = join(dir, 'mint.json');
  const write = (...keys) => {
    writeFileSync(`${file}.next`, JSON.stringify({assignment: {version: 1, keys}}));
    renameSync(`${file}.next`, file);
  };
  if (keys.length > 0) write(...keys);
  return {file, write};
}

test('Go and Node.js take each other\'s IDs', {skip: go.state ? false : 'run by mint/node_test.go'}, () => {
  const mint = openMint(go.state, {watch: false});
  assert.ok(mint.ready);
  assert.ok(go.ids.length > 0);
  for (const id of go.ids) assert.ok(mint.owns(id), `Node.js does not know Go's ${id}`);
  const made = [];
  for (let i = 0; i < 100; i++) made.push(mint.id(), mint.addMark(`own-${i}`));
  assert.equal(new Set(made).size, made.length);
  writeFileSync(go.made, made.join('\n'));
});

// The vectors of idspace/sealed.
test('sealed marks are read as in Go', (t) => {
  const vectors = JSON.parse(readFileSync(new URL('../../idspace/sealed/testdata/vectors.json', import.meta.url)));
  const own = ({key, server}) => {
    const key64 = Buffer.from(key, 'hex').toString('base64');
    return openMint(stateFile(t, {...sealed(server ?? 0), mark_key: key64}).file, {watch: false});
  };
  for (const mark of vectors.marks) assert.equal(own(mark).cutMark(`${mark.text}rest`), 'rest', mark.name);
  for (const no of vectors.no_marks) assert.ok(!own(no).owns(`${no.text}rest`), no.name);
  assert.ok(vectors.marks.length > 0 && vectors.no_marks.length > 0);
});

test('an ID of another server, of nobody, or cut short is not its own', (t) => {
  const a = openMint(stateFile(t, sealed(1)).file, {watch: false});
  const b = openMint(stateFile(t, sealed(2)).file, {watch: false});
  const id = a.id();
  assert.ok(a.owns(id));
  assert.ok(!b.owns(id));
  assert.ok(!a.owns(id.slice(0, 21)));
  assert.ok(!a.owns(''));
  // The 22nd character carries two bits: its twins are no marks.
  const twin = String.fromCharCode(id.charCodeAt(21) + 1);
  assert.ok(!a.owns(id.slice(0, 21) + twin + id.slice(22)));
  assert.equal(a.cutMark(a.addMark('token')), 'token');
  assert.equal(a.cutMark(b.addMark('token')), undefined);
});

test('a constant mark, and the generation before it', (t) => {
  const keys = [{generation: 1, mint: true, text: '4d01'}, {generation: 0, text: '4d00'}, {generation: 2, quic_lb: {}}];
  const state = stateFile(t, ...keys);
  const mint = openMint(state.file, {watch: false});
  assert.match(mint.id(), /^4d01[0-9a-f]{32}$/);
  assert.equal(mint.cutMark('4d00old'), 'old');
  assert.ok(!mint.owns('4d02'));
  // An assignment by itself, as `mintmark plan` writes it.
  writeFileSync(state.file, JSON.stringify({server: 'a', keys}));
  assert.match(openMint(state.file, {watch: false}).id(), /^4d01/);
});

test('the file may come later, and changes are seen', async (t) => {
  const state = stateFile(t);
  const mint = openMint(state.file);
  t.after(() => mint.close());
  assert.ok(!mint.ready);
  assert.equal(mint.id().length, 22);
  assert.equal(mint.addMark('token'), 'token');
  for (const text of ['4d01', '4d02']) {
    state.write({generation: 0, mint: true, text});
    await until(() => mint.id().startsWith(text));
  }
});

test('a damaged file is an error that names it, and changes nothing later', async (t) => {
  const state = stateFile(t);
  writeFileSync(state.file, '{');
  assert.throws(() => openMint(state.file, {watch: false}), new RegExp(state.file));
  state.write({generation: 0, mint: true, text: '4d01'});
  const mint = openMint(state.file);
  t.after(() => mint.close());
  const warned = new Promise((resolve) => process.once('warning', resolve));
  writeFileSync(state.file, '{');
  assert.equal((await warned).name, 'MintWarning');
  assert.match(mint.id(), /^4d01/);
});

async function until(ok) {
  while (!ok()) await new Promise((resolve) => setTimeout(resolve, 5));
}
