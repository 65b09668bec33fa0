// Binary frames of /v1/live, as docs/protocol.md specifies them byte by byte. Pure: bytes in, what they say out.

import type { Cluster, Known, Told } from './messages';

/** The WebSocket subprotocol of these frames. */
export const PROTOCOL = 'tracker.live.v1';

const HEADER_BYTES = 20;
const RECORD_BYTES = 20;
const CLUSTER_BYTES = 20;
const SNAPSHOT = 1;
const CLUSTERED = 1;
const UNKNOWN_SPEED = 0xffff;
const UNKNOWN_COURSE = 0xff;
const COURSE_DEG = 1.5;
const DEGREE = 1e7;
const STATES = ['online', 'silent', 'offline'] as const;

export interface Frame {
  type: 'snapshot' | 'update';
  id: number;
  assets: Told[];
  remove: string[];
  /** Null: the view shows assets. */
  clusters: Cluster[] | null;
}

export function decode(buffer: ArrayBuffer): Frame {
  const data = new DataView(buffer);
  const assets = data.getUint32(8, true);
  const removed = data.getUint32(12, true);
  const clusters = data.getUint32(16, true);
  const fromRemoved = HEADER_BYTES + assets * RECORD_BYTES;
  const fromClusters = fromRemoved + 4 * removed;
  if (fromClusters + clusters * CLUSTER_BYTES !== buffer.byteLength) throw new Error('A frame is not as long as it says.');
  const level = data.getUint8(2);
  return {
    type: data.getUint8(0) === SNAPSHOT ? 'snapshot' : 'update',
    id: data.getUint32(4, true),
    assets: Array.from({ length: assets }, (_, i) => record(data, HEADER_BYTES + i * RECORD_BYTES)),
    remove: Array.from({ length: removed }, (_, i) => idOf(data.getUint32(fromRemoved + i * 4, true))),
    clusters:
      data.getUint8(1) & CLUSTERED
        ? Array.from({ length: clusters }, (_, i) => cluster(data, fromClusters + i * CLUSTER_BYTES, level))
        : null,
  };
}

const idOf = (asset: number): string => `ast_${asset}`;

function record(data: DataView, at: number): Told {
  const speed = data.getUint16(at + 16, true);
  const course = data.getUint8(at + 18);
  const look = data.getUint8(at + 19);
  return {
    id: idOf(data.getUint32(at, true)),
    lon: data.getInt32(at + 4, true) / DEGREE,
    lat: data.getInt32(at + 8, true) / DEGREE,
    fix_ms: data.getUint32(at + 12, true) * 1_000,
    speed_mps: speed === UNKNOWN_SPEED ? null : speed / 10,
    course_deg: course === UNKNOWN_COURSE ? null : course * COURSE_DEG,
    state: STATES[look & 3] ?? 'online',
    revision: look >> 2,
  };
}

function cluster(data: DataView, at: number, level: number): Cluster {
  return {
    id: `${level}/${data.getUint32(at, true)}/${data.getUint32(at + 4, true)}`,
    lon: data.getInt32(at + 8, true) / DEGREE,
    lat: data.getInt32(at + 12, true) / DEGREE,
    count: data.getUint32(at + 16, true),
  };
}

/** A record with what is known of its asset besides. */
export function withName({ revision, state, ...told }: Told, name: string, tags: string[]): Known {
  return { ...told, name, tags, accuracy_m: null, alt_m: null, partial: true, ...(state === 'online' ? {} : { state }) };
}
