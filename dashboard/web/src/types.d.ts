declare module 'virtual:icons' {
  import type { IconifyJSON } from '@iconify/react';
  const collection: IconifyJSON;
  export default collection;
}
declare module '*?worker' {
  const worker: new () => Worker;
  export default worker;
}
// Headlamp's modules are used through an alias; its types are not part of ours.
declare module 'headlamp/*';
declare module 'monaco-editor/esm/*';
declare module '*?raw' {
  const text: string;
  export default text;
}
