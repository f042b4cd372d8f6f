type Checked = { object: any } | { problem: string; values?: Record<string, string> };

/**
 * The object that takes the place of item when the texts of its editor are saved, or why there is none. A manifest that was
 * pasted over the text may lack what the editor had: the namespace, and the resourceVersion, without which a change that somebody
 * else has made meanwhile would be overwritten.
 */
export function edited(texts: any[], item: any): Checked {
  const [text] = texts;
  if (texts.length !== 1) return { problem: 'An edit is of one object. Use Create for several.' };
  const { kind, metadata } = item;
  const same = text?.kind === kind && text.metadata?.name === metadata.name && (text.metadata.namespace ?? metadata.namespace) === metadata.namespace;
  if (!same) return { problem: 'This editor is of {{kind}} {{name}}; kind, name and namespace cannot be changed. Use Create for another object.', values: { kind, name: metadata.name } };
  const { name: _name, namespace, resourceVersion } = metadata;
  return { object: { ...text, metadata: { ...(namespace && { namespace }), ...(resourceVersion && { resourceVersion }), ...text.metadata } } };
}
