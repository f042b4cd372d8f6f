import { enqueueSnackbar } from 'notistack';

/** Shows a message; line breaks in it are kept. */
export function tell(message: string, variant: 'info' | 'success' | 'error' = 'info') {
  enqueueSnackbar(message, { variant, style: { whiteSpace: 'pre-line', maxWidth: '44rem' }, autoHideDuration: variant === 'success' ? 4000 : 15000 });
}
