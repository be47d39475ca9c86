/** One thing the doctor looked at. */
export interface Finding {
  name: string;
  state: 'ok' | 'warn' | 'problem';
  detail: string;
  repair?: string;
}
