import text from '../../../../examples/http-echo.yaml?raw';

/** The manifest of the tutorial, as it was in 2019. */
export const example: string = text;
