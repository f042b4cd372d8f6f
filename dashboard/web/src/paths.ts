/** Takes out what the API server keeps for itself, which hides the difference. */
export function plain(object: any): any {
  const { managedFields: _managed, ...metadata } = object.metadata ?? {};
  const { status: _status, ...rest } = object;
  return { ...rest, metadata };
}

/** The path of an object in the API, for kinds whose plural is regular. */
export function pathOf(object: any): string {
  const version: string = object.apiVersion;
  const kind: string = object.kind.toLowerCase();
  const plural = kind === 'endpoints' ? kind : /(s|x|ch|sh)$/.test(kind) ? `${kind}es` : /[^aeiou]y$/.test(kind) ? `${kind.slice(0, -1)}ies` : `${kind}s`;
  const namespace = object.metadata.namespace ? `/namespaces/${object.metadata.namespace}` : '';
  return `/${version.includes('/') ? 'apis' : 'api'}/${version}${namespace}/${plural}/${object.metadata.name}`;
}
