/** Takes out what the API server keeps for itself, which hides the difference. */
export function plain(object: any): any {
  const { managedFields: _managed, ...metadata } = object.metadata ?? {};
  const { status: _status, ...rest } = object;
  return { ...rest, metadata };
}

/** The path of one of Headlamp's objects in the API. */
export function pathOf(item: any): string {
  const { apiVersion, metadata } = item.jsonData;
  const namespace = metadata.namespace ? `/namespaces/${metadata.namespace}` : '';
  return `/${apiVersion.includes('/') ? 'apis' : 'api'}/${apiVersion}${namespace}/${item._class().apiName}/${metadata.name}`;
}
