/** Whether a request that failed is made again: one that the API server has refused is not, so that the reason shows at once. */
export function again(failures: number, error: unknown): boolean {
  const status = (error as { status?: number }).status ?? 0;
  return failures < 3 && !(status >= 400 && status < 500);
}
