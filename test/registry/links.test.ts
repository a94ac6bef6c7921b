// Who is gone and who is only reconnecting, by what a channel shows over time.
import { GONE_AFTER_MS, Links, NEVER_SEEN_GONE_AFTER_MS } from '../../src/registry/links.js';

const look = (links: Links, atMs: number, subscribers: number, lease = '100') =>
  links.look([{ instance: 'ann-aaaaaa', subscribers, lease }], atMs).has('ann-aaaaaa');

describe('links', () => {
  it('takes two looks to call a process gone, far enough apart', () => {
    const links = new Links();
    expect(look(links, 0, 1)).toBe(false);
    expect(look(links, 5000, 0)).toBe(false);
    expect(look(links, 5000 + GONE_AFTER_MS - 1, 0)).toBe(false);
    expect(look(links, 5000 + GONE_AFTER_MS, 0)).toBe(true);
  });

  it('begins anew when somebody is back, or the lease was renewed', () => {
    const links = new Links();
    look(links, 0, 1);
    look(links, 100, 0);
    look(links, 500, 1);
    expect(look(links, 900, 0)).toBe(false);
    expect(look(links, 1700, 0, '200')).toBe(false);
    expect(look(links, 2300, 0, '200')).toBe(false);
    expect(look(links, 2400, 0, '200')).toBe(true);
  });

  it('is patient with a process it never saw: it may be starting', () => {
    const links = new Links();
    look(links, 0, 0);
    expect(look(links, NEVER_SEEN_GONE_AFTER_MS - 1, 0)).toBe(false);
    expect(look(links, NEVER_SEEN_GONE_AFTER_MS, 0)).toBe(true);
  });

  it('is patient with everyone after its own link was cut', () => {
    const links = new Links();
    look(links, 0, 1);
    look(links, 1000, 0);
    links.reset();
    expect(look(links, 2000, 0)).toBe(false);
    expect(look(links, 2000 + GONE_AFTER_MS, 0)).toBe(false);
  });

  it('keeps nothing of an instance that is not there any more', () => {
    const links = new Links();
    look(links, 0, 1);
    look(links, 1000, 0);
    links.look([], 1500);
    expect(look(links, 2000, 0)).toBe(false);
  });
});
