// GLSL of the overlay. Positions come as two floats each (a number and what it lost by rounding): one alone is 2 m coarse.

const PROJECT = `
  uniform vec4 u_center;      // x, x's remainder, y, y's remainder
  uniform float u_world;      // which copy of the world
  uniform float u_scale;      // device pixels for the whole mercator square
  uniform vec2 u_turn;        // cos, sin
  uniform vec2 u_origin;      // device pixels
  uniform vec2 u_size;        // device pixels
  vec2 relative(vec4 p) { return vec2(p.x - u_center.x + (p.y - u_center.y) + u_world, p.z - u_center.z + (p.w - u_center.w)); }
  vec2 toPixels(vec2 r) {
    vec2 d = r * u_scale;
    return u_origin + vec2(d.x * u_turn.x - d.y * u_turn.y, d.x * u_turn.y + d.y * u_turn.x);
  }
  vec4 toClip(vec2 px) { return vec4(px / u_size * vec2(2.0, -2.0) + vec2(-1.0, 1.0), 0.0, 1.0); }
`;

export const MARKER_VERTEX = `#version 300 es
  precision highp float;
  in vec4 a_from;
  in vec4 a_to;
  in vec4 a_time;             // start, end (seconds), course before, course after (degrees)
  in vec4 a_look;             // state, colour, emphasis, hidden
  uniform float u_now;
  uniform float u_dpr;
  uniform float u_bearing;
  ${PROJECT}
  out vec3 v_look;
  out vec2 v_turn;
  out float v_px;
  void main() {
    float part = a_time.y > a_time.x ? clamp((u_now - a_time.x) / (a_time.y - a_time.x), 0.0, 1.0) : 1.0;
    vec2 r = mix(relative(a_from), relative(a_to), part);
    gl_Position = a_look.w > 0.5 ? vec4(2.0, 2.0, 2.0, 1.0) : toClip(toPixels(r));
    float swing = mod(a_time.w - a_time.z + 540.0, 360.0) - 180.0;
    float course = radians(a_time.z + swing * min(part * 2.0, 1.0) - u_bearing);
    v_turn = vec2(cos(course), sin(course));
    v_look = a_look.xyz;
    v_px = (a_look.x > 0.5 && a_look.x < 1.5 ? 32.0 : 26.0) + a_look.z * 8.0;
    gl_PointSize = v_px * u_dpr;
    v_px *= u_dpr;
  }
`;

// Signed distances in units of half the sprite; an edge is one device pixel soft whatever the size.
export const MARKER_FRAGMENT = `#version 300 es
  precision highp float;
  in vec3 v_look;
  in vec2 v_turn;
  in float v_px;
  uniform vec3 u_palette[10];
  uniform vec3 u_rim;
  uniform vec3 u_stale;
  uniform float u_shadow;
  out vec4 color;
  float arrow(vec2 p) {
    vec2 v[4] = vec2[4](vec2(0.0, -0.62), vec2(0.45, 0.50), vec2(0.0, 0.27), vec2(-0.45, 0.50));
    float d = dot(p - v[0], p - v[0]);
    float s = 1.0;
    for (int i = 0, j = 3; i < 4; j = i, i++) {
      vec2 e = v[j] - v[i];
      vec2 w = p - v[i];
      vec2 b = w - e * clamp(dot(w, e) / dot(e, e), 0.0, 1.0);
      d = min(d, dot(b, b));
      bvec3 c = bvec3(p.y >= v[i].y, p.y < v[j].y, e.x * w.y > e.y * w.x);
      if (all(c) || all(not(c))) s = -s;
    }
    return s * sqrt(d);
  }
  void main() {
    vec2 p = gl_PointCoord * 2.0 - 1.0;
    float soft = 2.0 / v_px;
    bool moving = v_look.x > 0.5 && v_look.x < 1.5;
    bool stale = v_look.x > 1.5;
    float d = moving ? arrow(vec2(p.x * v_turn.x + p.y * v_turn.y, -p.x * v_turn.y + p.y * v_turn.x)) - 0.06 : length(p) - 0.40;
    float rim = moving ? 0.13 : 0.15;
    vec3 fill = stale ? u_stale : u_palette[int(v_look.y + 0.5)];
    float inside = 1.0 - smoothstep(-soft, soft, d);
    float body = 1.0 - smoothstep(-soft, soft, d - rim);
    if (stale) {
      float hole = 1.0 - smoothstep(-soft, soft, length(p) - 0.20);
      fill = mix(fill, u_rim, hole);
    }
    float shade = u_shadow * (1.0 - smoothstep(0.0, 0.42, d - rim + 0.08 + p.y * -0.06));
    float alpha = max(body, shade);
    if (alpha < 0.004) discard;
    vec3 rgb = mix(u_rim, fill, inside) * body;
    color = vec4(rgb, body + shade * (1.0 - body));
  }
`;

// A segment with round ends, as wide as it is told in device pixels; a segment of no length is a disc.
export const CAPSULE_VERTEX = `#version 300 es
  precision highp float;
  in vec2 a_corner;
  in vec4 a_from;
  in vec4 a_to;
  in vec4 a_ink;              // colour at the start and end: alpha, alpha; radius in css px; rim width
  ${PROJECT}
  uniform float u_dpr;
  out vec2 v_at;
  out float v_length;
  out vec4 v_ink;
  void main() {
    vec2 a = toPixels(relative(a_from));
    vec2 b = toPixels(relative(a_to));
    float len = distance(a, b);
    vec2 along = len > 0.001 ? (b - a) / len : vec2(1.0, 0.0);
    vec2 across = vec2(-along.y, along.x);
    float reach = a_ink.z * u_dpr + 1.5;
    vec2 at = vec2(mix(-reach, len + reach, a_corner.x), mix(-reach, reach, a_corner.y));
    gl_Position = toClip(a + along * at.x + across * at.y);
    v_at = at;
    v_length = len;
    v_ink = vec4(a_ink.xy, a_ink.z * u_dpr, a_ink.w * u_dpr);
  }
`;

export const CAPSULE_FRAGMENT = `#version 300 es
  precision highp float;
  in vec2 v_at;
  in float v_length;
  in vec4 v_ink;
  uniform vec3 u_color;
  out vec4 color;
  void main() {
    float t = v_length > 0.001 ? clamp(v_at.x / v_length, 0.0, 1.0) : 0.0;
    float d = distance(v_at, vec2(t * v_length, 0.0)) - v_ink.z;
    float alpha = (1.0 - smoothstep(-0.75, 0.75, d)) * mix(v_ink.x, v_ink.y, t);
    if (v_ink.w > 0.0) alpha = max(alpha, (1.0 - smoothstep(-0.75, 0.75, abs(d + v_ink.w * 0.5) - v_ink.w * 0.5)) * 0.7);
    if (alpha < 0.004) discard;
    color = vec4(u_color * alpha, alpha);
  }
`;
