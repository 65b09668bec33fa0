// Writes PMTiles v3 archives. It owns the byte layout of header and directories, and nothing about what the tiles mean.
import { createHash } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import { zxyToTileId } from 'pmtiles';

const HEADER_BYTES = 127;
const ROOT_BYTES = 16_384 - HEADER_BYTES; // the specification promises readers header and root in the first 16 KiB
const LEAF_ENTRIES = 2_048;
const GZIP = 2;
const MVT = 1;

/** @param {number[]} numbers non-negative integers below 2^53 */
function varints(numbers) {
  const bytes = [];
  for (let number of numbers) {
    while (number > 127) {
      bytes.push((number % 128) | 128);
      number = Math.floor(number / 128);
    }
    bytes.push(number);
  }
  return Buffer.from(bytes);
}

function directory(entries) {
  const columns = [entries.length];
  entries.forEach((entry, i) => columns.push(entry.id - (i ? entries[i - 1].id : 0)));
  entries.forEach((entry) => columns.push(entry.run));
  entries.forEach((entry) => columns.push(entry.length));
  entries.forEach((entry, i) => {
    const previous = entries[i - 1];
    // 0 = "where the previous one ended"; every other offset is written plus one.
    columns.push(previous && entry.offset === previous.offset + previous.length ? 0 : entry.offset + 1);
  });
  return gzipSync(varints(columns));
}

function directories(entries) {
  const root = directory(entries);
  if (root.length <= ROOT_BYTES) return { root, leaves: Buffer.alloc(0) };
  const leaves = [];
  const pointers = [];
  let offset = 0;
  for (let i = 0; i < entries.length; i += LEAF_ENTRIES) {
    const leaf = directory(entries.slice(i, i + LEAF_ENTRIES));
    pointers.push({ id: entries[i].id, run: 0, length: leaf.length, offset });
    leaves.push(leaf);
    offset += leaf.length;
  }
  return { root: directory(pointers), leaves: Buffer.concat(leaves) };
}

/** Equal tiles are stored once, equal neighbours share one entry. */
function pack(tiles) {
  const blobs = [];
  const offsets = new Map();
  const entries = [];
  let end = 0;
  for (const { id, data } of tiles) {
    const digest = createHash('sha1').update(data).digest('base64');
    let place = offsets.get(digest);
    if (!place) {
      place = { offset: end, length: data.length };
      offsets.set(digest, place);
      blobs.push(data);
      end += data.length;
    }
    const last = entries.at(-1);
    if (last && last.offset === place.offset && last.id + last.run === id) last.run += 1;
    else entries.push({ id, run: 1, ...place });
  }
  return { entries, data: Buffer.concat(blobs), contents: offsets.size };
}

/**
 * @param {{z: number, x: number, y: number, data: Buffer}[]} tiles gzipped vector tiles
 * @param {{bounds: number[], metadata: object}} about
 * @returns {Buffer}
 */
export function archive(tiles, about) {
  const ordered = tiles
    .map((tile) => ({ id: zxyToTileId(tile.z, tile.x, tile.y), z: tile.z, data: tile.data }))
    .sort((a, b) => a.id - b.id);
  const zooms = ordered.map((tile) => tile.z);
  const { entries, data, contents } = pack(ordered);
  const { root, leaves } = directories(entries);
  const metadata = gzipSync(JSON.stringify(about.metadata));
  const header = Buffer.alloc(HEADER_BYTES);
  header.write('PMTiles', 0, 'ascii');
  header.writeUInt8(3, 7);
  const sections = [root, metadata, leaves, data];
  let offset = HEADER_BYTES;
  sections.forEach((section, i) => {
    header.writeBigUInt64LE(BigInt(offset), 8 + i * 16);
    header.writeBigUInt64LE(BigInt(section.length), 16 + i * 16);
    offset += section.length;
  });
  [ordered.length, entries.length, contents].forEach((n, i) => header.writeBigUInt64LE(BigInt(n), 72 + i * 8));
  header.writeUInt8(1, 96); // clustered
  header.writeUInt8(GZIP, 97);
  header.writeUInt8(GZIP, 98);
  header.writeUInt8(MVT, 99);
  header.writeUInt8(zooms.reduce((a, b) => Math.min(a, b)), 100);
  header.writeUInt8(zooms.reduce((a, b) => Math.max(a, b)), 101);
  const [w, s, e, n] = about.bounds;
  [w, s, e, n].forEach((deg, i) => header.writeInt32LE(Math.round(deg * 1e7), 102 + i * 4));
  header.writeUInt8(0, 118);
  header.writeInt32LE(Math.round(((w + e) / 2) * 1e7), 119);
  header.writeInt32LE(Math.round(((s + n) / 2) * 1e7), 123);
  return Buffer.concat([header, ...sections]);
}
