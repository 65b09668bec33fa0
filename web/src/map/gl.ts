// The least of WebGL2 that the overlay needs: programs and buffers that grow.

export interface Program {
  program: WebGLProgram;
  uniform(name: string): WebGLUniformLocation | null;
  attribute(name: string): number;
}

function compile(gl: WebGL2RenderingContext, kind: number, source: string): WebGLShader {
  const shader = gl.createShader(kind);
  if (!shader) throw new Error('WebGL2 gave no shader: the graphics context is lost.');
  gl.shaderSource(shader, source);
  gl.compileShader(shader);
  if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) throw new Error(gl.getShaderInfoLog(shader) ?? 'shader');
  return shader;
}

export function link(gl: WebGL2RenderingContext, vertex: string, fragment: string): Program {
  const program = gl.createProgram();
  gl.attachShader(program, compile(gl, gl.VERTEX_SHADER, vertex));
  gl.attachShader(program, compile(gl, gl.FRAGMENT_SHADER, fragment));
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program) ?? 'program');
  const uniforms = new Map<string, WebGLUniformLocation | null>();
  return {
    program,
    uniform(name) {
      if (!uniforms.has(name)) uniforms.set(name, gl.getUniformLocation(program, name));
      return uniforms.get(name) ?? null;
    },
    attribute: (name) => gl.getAttribLocation(program, name),
  };
}

/** A float column store on both sides. Rows are written here and only the changed stretch is sent. */
export class Rows {
  readonly buffer: WebGLBuffer | null;
  readonly #gl: WebGL2RenderingContext;
  readonly #width: number;
  #data: Float32Array;
  #allocated = 0;
  #low = Number.POSITIVE_INFINITY;
  #high = -1;

  constructor(gl: WebGL2RenderingContext, width: number) {
    this.#gl = gl;
    this.#width = width;
    this.#data = new Float32Array(width * 256);
    this.buffer = gl.createBuffer();
  }

  write(row: number, values: ArrayLike<number>): void {
    const end = (row + 1) * this.#width;
    if (end > this.#data.length) {
      const grown = new Float32Array(Math.max(end, this.#data.length * 2));
      grown.set(this.#data);
      this.#data = grown;
    }
    this.#data.set(values, row * this.#width);
    this.#low = Math.min(this.#low, row);
    this.#high = Math.max(this.#high, row);
  }

  flush(): void {
    if (this.#high < 0) return;
    const gl = this.#gl;
    gl.bindBuffer(gl.ARRAY_BUFFER, this.buffer);
    if (this.#allocated < this.#data.length) {
      gl.bufferData(gl.ARRAY_BUFFER, this.#data, gl.DYNAMIC_DRAW);
      this.#allocated = this.#data.length;
    } else {
      const from = this.#low * this.#width;
      gl.bufferSubData(gl.ARRAY_BUFFER, from * 4, this.#data, from, (this.#high + 1) * this.#width - from);
    }
    this.#low = Number.POSITIVE_INFINITY;
    this.#high = -1;
  }
}

/** Points the vertex shader's vec4 inputs at consecutive groups of four floats of the bound buffer. */
export function layout(gl: WebGL2RenderingContext, program: Program, names: string[], instanced: boolean): void {
  names.forEach((name, i) => {
    const at = program.attribute(name);
    if (at < 0) return;
    gl.enableVertexAttribArray(at);
    gl.vertexAttribPointer(at, 4, gl.FLOAT, false, names.length * 16, i * 16);
    gl.vertexAttribDivisor(at, instanced ? 1 : 0);
  });
}
