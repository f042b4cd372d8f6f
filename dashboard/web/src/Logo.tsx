/** skiff's sign and name, in the place of Headlamp's. */
export function Logo({ logoType = 'large' }: { logoType?: 'large' | 'small' }) {
  return (
    <span style={{ display: 'inline-flex', alignItems: 'center', gap: 10, fontWeight: 700, fontSize: '1.25rem', color: 'inherit' }}>
      <img src="/icon.svg" alt="" width={28} height={28} />
      {logoType === 'large' && <span>skiff</span>}
    </span>
  );
}
