// Lungs and findings in three dimensions, by WebGL alone: drag to turn, wheel to come closer.
"use strict";

const VERTEX = `attribute vec3 position; attribute vec3 normal; uniform mat4 view; uniform mat3 turn; varying vec3 facing;
void main() { facing = turn * normal; gl_Position = view * vec4(position, 1.0); }`;
const FRAGMENT = `precision mediump float; varying vec3 facing; uniform vec4 colour; uniform float glass;
void main() {
  float towards = abs(normalize(facing).z);
  float seen = mix(1.0, 0.25 + 0.9 * pow(1.0 - towards, 2.0), glass);
  gl_FragColor = vec4(colour.rgb * (0.35 + 0.65 * towards), 1.0) * colour.a * seen;
}`;
const LUNG = [0.45, 0.72, 0.82, 0.3];
const FINDINGS = [[0.94, 0.36, 0.3, 1], [0.96, 0.75, 0.3, 1], [0.55, 0.85, 0.45, 1], [0.8, 0.5, 0.95, 1], [0.4, 0.65, 1, 1]];

function compiled(gl, kind, text) {
  const shader = gl.createShader(kind);
  gl.shaderSource(shader, text);
  gl.compileShader(shader);
  if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) throw new Error(gl.getShaderInfoLog(shader));
  return shader;
}

function normalsOf(positions, triangles) {
  const normals = new Float32Array(positions.length);
  for (let at = 0; at < triangles.length; at += 3) {
    const [a, b, c] = [0, 1, 2].map((n) => triangles[at + n] * 3);
    const u = [0, 1, 2].map((n) => positions[b + n] - positions[a + n]);
    const v = [0, 1, 2].map((n) => positions[c + n] - positions[a + n]);
    const cross = [u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]];
    for (const corner of [a, b, c]) for (let n = 0; n < 3; n++) normals[corner + n] += cross[n];
  }
  return normals;
}

function uploaded(gl, shape, colour, glass) {
  const buffer = (target, data) => {
    const made = gl.createBuffer();
    gl.bindBuffer(target, made);
    gl.bufferData(target, data, gl.STATIC_DRAW);
    return made;
  };
  return {
    colour, glass, count: shape.triangles.length,
    positions: buffer(gl.ARRAY_BUFFER, new Float32Array(shape.positions)),
    normals: buffer(gl.ARRAY_BUFFER, normalsOf(shape.positions, shape.triangles)),
    triangles: buffer(gl.ELEMENT_ARRAY_BUFFER, new Uint32Array(shape.triangles)),
  };
}

function bounds(shapes) {
  const low = [Infinity, Infinity, Infinity], high = [-Infinity, -Infinity, -Infinity];
  for (const shape of shapes) {
    shape.positions.forEach((value, index) => {
      low[index % 3] = Math.min(low[index % 3], value);
      high[index % 3] = Math.max(high[index % 3], value);
    });
  }
  const centre = low.map((value, n) => (value + high[n]) / 2);
  return { centre, radius: Math.hypot(...low.map((value, n) => (high[n] - value) / 2)) || 1 };
}

// Columns of the rotation: the patient stands upright (z, to the head, is up) and is seen from the front, so that y, to
// the back, leads away from the viewer.
function rotation(yaw, pitch) {
  const [c, s, d, t] = [Math.cos(yaw), Math.sin(yaw), Math.cos(pitch), Math.sin(pitch)];
  return [c, s * t, -s * d, s, -c * t, c * d, 0, d, t];
}

function start(figure, shapes) {
  const canvas = figure.querySelector("canvas");
  const gl = canvas.getContext("webgl", { antialias: true, preserveDrawingBuffer: true });
  if (!gl || !gl.getExtension("OES_element_index_uint")) throw new Error("no WebGL");
  const program = gl.createProgram();
  gl.attachShader(program, compiled(gl, gl.VERTEX_SHADER, VERTEX));
  gl.attachShader(program, compiled(gl, gl.FRAGMENT_SHADER, FRAGMENT));
  gl.linkProgram(program);
  gl.useProgram(program);
  const { centre, radius } = bounds(shapes);
  let next = 0;
  const parts = shapes.map((shape) => shape.tracking_uid
    ? uploaded(gl, shape, FINDINGS[next++ % FINDINGS.length], 0)
    : uploaded(gl, shape, LUNG, 1)).sort((one, other) => one.glass - other.glass);
  const look = { yaw: 0.35, pitch: 0.1, zoom: 1 };
  const place = (name) => gl.getUniformLocation(program, name);
  const bind = (name, buffer) => {
    const at = gl.getAttribLocation(program, name);
    gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
    gl.enableVertexAttribArray(at);
    gl.vertexAttribPointer(at, 3, gl.FLOAT, false, 0, 0);
  };

  function draw() {
    const turn = rotation(look.yaw, look.pitch);
    const across = (look.zoom / radius) * (canvas.height / canvas.width), up = look.zoom / radius, deep = 0.4 / radius;
    const scale = [across, up, deep];
    const view = [];
    for (let column = 0; column < 3; column++) view.push(...[0, 1, 2].map((row) => turn[column * 3 + row] * scale[row]), 0);
    for (let row = 0; row < 3; row++) view.push(-[0, 1, 2].reduce((sum, n) => sum + turn[n * 3 + row] * centre[n], 0) * scale[row]);
    view.push(1);
    gl.viewport(0, 0, canvas.width, canvas.height);
    gl.clearColor(0, 0, 0, 1);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    gl.enable(gl.DEPTH_TEST);
    gl.enable(gl.BLEND);
    gl.uniformMatrix4fv(place("view"), false, view);
    gl.uniformMatrix3fv(place("turn"), false, turn);
    for (const part of parts) {
      gl.blendFunc(gl.ONE, part.glass ? gl.ONE : gl.ZERO);
      gl.depthMask(!part.glass);
      bind("position", part.positions);
      bind("normal", part.normals);
      gl.uniform4fv(place("colour"), part.colour);
      gl.uniform1f(place("glass"), part.glass);
      gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, part.triangles);
      gl.drawElements(gl.TRIANGLES, part.count, gl.UNSIGNED_INT, 0);
    }
    gl.depthMask(true);
    figure.dataset.drawn = String(parts.length);
  }

  canvas.addEventListener("pointermove", (event) => {
    if (!event.buttons) return;
    look.yaw += event.movementX / 150;
    look.pitch = Math.max(-1.5, Math.min(1.5, look.pitch + event.movementY / 150));
    draw();
  });
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    look.zoom = Math.max(0.3, Math.min(12, look.zoom * Math.exp(-event.deltaY / 500)));
    draw();
  });
  draw();
}

for (const figure of document.querySelectorAll("figure.space")) {
  fetch(figure.dataset.surfaces)
    .then((answer) => (answer.ok ? answer.json() : []))
    .then((shapes) => (shapes.length ? start(figure, shapes) : (figure.hidden = true)))
    .catch(() => { figure.hidden = true; });
}
