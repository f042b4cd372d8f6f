// Stands in for what no page uses.
const absent = () => null;
export const DatePicker = absent;
export const DateTimePicker = absent;
export const TimePicker = absent;
export const LocalizationProvider = absent;
export default absent;
