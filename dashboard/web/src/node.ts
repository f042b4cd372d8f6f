// What is left of Node's module util for a parser of OpenAPI that is made for both.
export const inspect = { custom: Symbol.for('nodejs.util.inspect.custom') };
export const format = (...parts: unknown[]) => parts.join(' ');
export const inherits = (child: { prototype: object }, parent: { prototype: object }) => void Object.setPrototypeOf(child.prototype, parent.prototype);
export default { inspect, format, inherits };
