import { Button } from '@mui/material';
import { closeSnackbar, enqueueSnackbar } from 'notistack';
import { useEffect, useRef } from 'react';
import { useDispatch, useSelector } from 'react-redux';
import { useHistory } from 'react-router-dom';

/** What Headlamp's store has of a change that was asked for; it waits some seconds before it begins. */
interface Action {
  id: string;
  state?: 'start' | 'complete' | 'error';
  message?: string;
  url?: string;
  buttons?: Array<{ label: string; actionToDispatch: string }>;
  snackbarProps?: { variant?: 'success' | 'error' };
}

const shortly = 4000; // ms
const toRead = 15000;

/**
 * Says which change is about to be made, with a button that cancels it, and then how it ended. Headlamp's package keeps these in
 * its store and has nothing that shows them.
 */
export function Actions() {
  const actions = useSelector((state: { clusterAction: Record<string, Action> }) => state.clusterAction);
  const dispatch = useDispatch();
  const history = useHistory();
  const told = useRef(new Map<string, string>());
  useEffect(() => {
    for (const { id, state, message, url, buttons, snackbarProps } of Object.values(actions)) {
      if (!state || told.current.get(id) === state) continue;
      told.current.set(id, state);
      closeSnackbar(id);
      if (state !== 'start') {
        if (message) enqueueSnackbar(message, { variant: snackbarProps?.variant, autoHideDuration: state === 'error' ? toRead : shortly, style: { maxWidth: '44rem' } });
        continue;
      }
      enqueueSnackbar(message, {
        key: id,
        persist: true,
        action: buttons?.map(button => (
          <Button key={button.label} size="small" color="inherit" onClick={() => dispatch({ type: button.actionToDispatch })}>
            {button.label}
          </Button>
        )),
      });
      if (url && url !== history.location.pathname) history.push(url); // away from the page of an object that is deleted, for example
    }
    for (const id of told.current.keys()) if (!actions[id]) closeSnackbar(id);
  }, [actions]);
  return null;
}
