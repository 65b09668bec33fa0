// SI units in, words for people out. Nothing here reads a clock: the caller says what time it is.

const COMPASS = ['N', 'NE', 'E', 'SE', 'S', 'SW', 'W', 'NW'] as const;

export function speed(mps: number | null | undefined): string | null {
  if (mps == null) return null;
  const kmh = mps * 3.6;
  return `${kmh < 10 ? kmh.toFixed(1) : Math.round(kmh)} km/h`;
}

export function course(deg: number | null | undefined): string | null {
  if (deg == null) return null;
  return `${Math.round(deg) % 360}° ${COMPASS[Math.round(deg / 45) % 8]}`;
}

export function metres(m: number | null | undefined): string | null {
  if (m == null) return null;
  if (Math.abs(m) >= 10_000) return `${Math.round(m / 1000)} km`;
  if (Math.abs(m) >= 1_000) return `${(m / 1000).toFixed(1)} km`;
  return `${Math.abs(m) < 10 ? Number(m.toFixed(1)) : Math.round(m)} m`;
}

/** "now", "12 s", "4 min", "3 h", "2 d": how long ago, in one short word. */
export function age(ms: number): string {
  const s = Math.max(0, Math.floor(ms / 1000));
  if (s < 2) return 'now';
  if (s < 60) return `${s} s`;
  if (s < 3_600) return `${Math.floor(s / 60)} min`;
  if (s < 172_800) return `${Math.floor(s / 3_600)} h`;
  return `${Math.floor(s / 86_400)} d`;
}

export function ago(ms: number): string {
  const short = age(ms);
  return short === 'now' ? 'just now' : `${short} ago`;
}

/** How long: "40 s", "12 min", "1 h 5 min", "3 d 2 h". Two units at most; 59.6 s are a minute. */
export function duration(seconds: number): string {
  const s = Math.round(seconds);
  if (s < 60) return `${s} s`;
  const minutes = Math.round(s / 60);
  if (minutes < 60) return s < 600 && s % 60 ? `${Math.floor(s / 60)} min ${s % 60} s` : `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  const days = Math.floor(hours / 24);
  return hours % 24 ? `${days} d ${hours % 24} h` : `${days} d`;
}

const clockFormat = new Intl.DateTimeFormat(undefined, { timeStyle: 'medium', hourCycle: 'h23' });
const dayFormat = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short' });

/** The time of day, with the date in front when it is not the day of `nowMs`. */
export function timeOfDay(atMs: number, nowMs: number): string {
  const at = new Date(atMs);
  const sameDay = at.toDateString() === new Date(nowMs).toDateString();
  return sameDay ? clockFormat.format(at) : `${dayFormat.format(at)} ${clockFormat.format(at)}`;
}

/** When something was at a place: the newest time, and how many there are. */
export function passageWords(passages: readonly { from: string; to: string }[], nowMs: number): string {
  const [newest, ...others] = passages;
  if (!newest) return '';
  const [from, to] = [Date.parse(newest.from), Date.parse(newest.to)];
  const same = new Date(from).toDateString() === new Date(to).toDateString();
  const until = to - from < 60_000 ? '' : ` – ${same ? clock(to) : timeOfDay(to, nowMs)}`;
  return `${timeOfDay(from, nowMs)}${until}${others.length ? ` · and ${others.length} other time${others.length > 1 ? 's' : ''}` : ''}`;
}

const shortFormat = new Intl.DateTimeFormat(undefined, { timeStyle: 'short', hourCycle: 'h23' });

/** Hours and minutes. */
export const clock = (atMs: number): string => shortFormat.format(new Date(atMs));

/** Latitude first, as people and their other programs write it. */
export function latLon(lat: number, lon: number, digits = 5): string {
  return `${lat.toFixed(digits)}, ${lon.toFixed(digits)}`;
}
