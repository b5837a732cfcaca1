// Writes the data of the audit to the page. Everything becomes text, and nothing is parsed as HTML.
(() => {
  'use strict';

  const data = JSON.parse(document.getElementById('data').textContent);
  const read = data.accounts.filter((account) => !account.error);
  const byId = (id) => document.getElementById(id);
  const SEVERITIES = ['error', 'warning', 'notice'];
  const PAGE = 25;
  const LANES = 12;
  const UNITS_PER_ROW = 30;

  // Elements

  const HIDDEN =
    /[\u0000-\u001f\u007f-\u00a0\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202f\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\uffff\ud800-\udfff\u{e0000}-\u{e0fff}]/gu;

  function el(name, attributes, ...children) {
    const svg = name === 'svg' || name === 'path';
    const made = svg ? document.createElementNS('http://www.w3.org/2000/svg', name) : document.createElement(name);
    for (const [key, value] of Object.entries(attributes || {})) {
      if (key === 'on') Object.entries(value).forEach(([event, run]) => made.addEventListener(event, run));
      else if (key === 'at') Object.entries(value).forEach(([property, to]) => made.style.setProperty(property, to));
      else if (value !== null && value !== false) made.setAttribute(key, value === true ? '' : value);
    }
    made.append(
      ...children
        .flat(Infinity)
        .filter((child) => child !== null && child !== undefined && child !== false && child !== ''),
    );
    return made;
  }

  // A long name may be wrapped between its words.
  const BREAK = /(?<=[a-z0-9])(?=[A-Z])|(?<=[/_=,:])/;
  const breakable = (given) => given.split(BREAK).flatMap((part, index) => (index ? [el('wbr'), part] : [part]));

  // Text from outside, isolated from the direction of the text around it, with marks for invisible characters.
  function text(value) {
    const isolated = el('bdi');
    let end = 0;
    const given = String(value);
    for (const match of given.matchAll(HIDDEN)) {
      isolated.append(...breakable(given.slice(end, match.index)));
      const code = match[0].codePointAt(0).toString(16).toUpperCase().padStart(4, '0');
      isolated.append(el('span', {class: 'control'}, `\u2039U+${code}\u203a`));
      end = match.index + match[0].length;
    }
    isolated.append(...breakable(given.slice(end)));
    return isolated;
  }

  const id = (value) => el('span', {class: 'id'}, text(value));
  const sub = (...children) => el('span', {class: 'sub'}, ...children);
  const count = (number, one, many = `${one}s`) => `${number.toLocaleString('en')} ${number === 1 ? one : many}`;
  const time = (value) => (value ? `${value.slice(0, 10)} ${value.slice(11, 16)} UTC` : 'unknown');
  const day = (value) => (value ? value.slice(0, 10) : 'unknown');
  const until = (deadline, now) =>
    `until ${new Date(now).toISOString().slice(0, 10) === deadline.slice(0, 10) ? time(deadline).slice(11) : time(deadline)}`;
  const nowOf = (account) => Date.parse(account.account.read_at || data.generated);
  // The name in the inventory. The account of the controller's own credentials has none there.
  const nameOf = ({account}) =>
    ['controller', 'localhost'].includes(account.label) ? account.alias || account.id : account.label;

  // Facts

  // A window is shown as open unless it is known to be closed.
  function writes(principal) {
    if (principal.writes === 'yes') return 'yes';
    if (principal.writes === 'window') return ['closed', 'expired'].includes(principal.window?.state) ? 'no' : 'yes';
    return principal.writes === 'unknown' ? 'unknown' : 'no';
  }

  function verb(principal) {
    const state = writes(principal);
    if (state === 'unknown') return 'unknown whether it can write';
    if (state === 'no') return 'cannot write';
    if (principal.writes === 'window') {
      const deadline = principal.window?.deadline;
      return deadline ? `can write ${until(deadline, principal.now)}` : 'can write: its window is open';
    }
    return principal.is_administrator ? 'can write: it administers the account' : 'can write at any time';
  }

  const RANK = {yes: 0, unknown: 1, no: 2, other: 3};
  const principals = [];
  const instances = [];
  const keys = [];
  const parameters = [];
  const versions = [];
  const grantors = [];
  const others = new Set();
  for (const account of read) {
    const where = nameOf(account);
    const profileOf = new Map(account.instance_profiles.map((profile) => [profile.name, {...profile, instances: []}]));
    const owned = new Map();
    for (const principal of account.principals) {
      const made = {
        ...principal,
        account: where,
        now: nowOf(account),
        can: writes(principal),
        profiles: [],
        nodes: [],
        instances: 0,
      };
      principals.push(made);
      if (made.kind === 'role') owned.set(made.name, made);
      for (const key of principal.access_keys || []) keys.push({...key, account: where, now: made.now, user: made});
    }
    for (const profile of profileOf.values()) {
      const owner = owned.get(profile.role);
      if (owner) owner.profiles.push(profile);
    }
    for (const instance of account.instances) {
      const profile = profileOf.get(instance.profile);
      const owner = profile && owned.get(profile.role);
      // An audit reads the principals that matter to the agent. The permissions of other roles are not known.
      const role = profile ? profile.role : instance.profile && '?';
      const made = {...instance, account: where, can: owner ? owner.can : role ? 'other' : 'no', role};
      instances.push(made);
      if (profile) profile.instances.push(made);
      if (owner) owner.instances += 1;
      else if (role) others.add(`${where} ${instance.profile}`);
    }
    // A hybrid server has a role without an instance profile.
    for (const node of account.nodes || []) {
      const owner = owned.get(node.role);
      const made = {
        ...node,
        state: node.ping,
        profile: null,
        in_inventory: null,
        restore_tag: null,
        account: where,
        can: owner ? owner.can : 'other',
      };
      instances.push(made);
      if (owner) {
        owner.nodes.push(made);
        owner.instances += 1;
      } else others.add(`${where} ${node.role}`);
    }
    for (const grantor of account.grantors) grantors.push({...grantor, account: where, can: 'no', instances: 0});
    for (const parameter of account.parameters) parameters.push({...parameter, account: where});
    for (const {versions: kept, ...parameter} of account.history || [])
      for (const version of kept) versions.push({...version, ...parameter, account: where});
  }
  const writers = principals
    .filter((each) => each.can === 'yes' && !each.is_administrator)
    .sort((a, b) => (a.writes === 'window') - (b.writes === 'window'));
  const unsure = principals.filter((each) => each.can === 'unknown');
  const administrators = principals.filter((each) => each.can === 'yes' && each.is_administrator);
  const granting = grantors.filter((each) => each.can_grant === 'yes');
  const unsureGrants = grantors.filter((each) => each.can_grant === 'unknown');
  const GRANT = 'can change policies so that a server can write';

  // Head

  function severity(level) {
    const on = {error: 3, warning: 2, notice: 1}[level];
    return el(
      'span',
      {class: `severity is-${level}`},
      el(
        'svg',
        {viewBox: '0 0 15 12', 'aria-hidden': 'true'},
        [0, 1, 2].map((bar) => el('path', {class: bar < on ? 'on' : null, d: `M${bar * 5.5} ${8 - bar * 4}h4V12h-4z`})),
      ),
      level,
    );
  }

  function list(items) {
    return items.flatMap((item, index) => [index === 0 ? '' : index === items.length - 1 ? ' and ' : ', ', item]);
  }

  function first(items, show, most = 3) {
    const named = items.slice(0, most).map(show);
    return list(items.length > most ? [...named, `${items.length - most} more`] : named);
  }

  const strong = (each) => el('strong', {}, text(each.name));

  function writeHead() {
    const kinds = new Set(writers.map((each) => each.kind));
    const noun = kinds.size === 1 ? [...kinds][0] : 'principal';
    const verdict = byId('verdict');
    verdict.textContent = '';
    if (writers.length) {
      verdict.append(el('em', {}, count(writers.length, noun)), ' can write the agent configuration');
    } else if (unsure.length || read.length < data.accounts.length || read.some((account) => account.unread.length)) {
      verdict.append('No known server can write the agent configuration');
    } else verdict.append('No server can write the agent configuration');

    const withTime = (each) =>
      el(
        'span',
        {},
        strong(each),
        ' ',
        each.writes === 'window' && each.window?.deadline ? until(each.window.deadline, each.now) : 'at any time',
      );
    const sentences = [];
    if (writers.length) sentences.push(...first(writers, withTime), '. ');
    if (unsure.length) sentences.push(`For ${count(unsure.length, 'principal')} it is unknown. `);
    if (administrators.length) {
      sentences.push(
        `${count(administrators.length, 'principal')} can write because `,
        administrators.length === 1 ? 'it administers its account. ' : 'they administer their account. ',
      );
    }
    if (granting.length) sentences.push(...first(granting, strong), ` ${GRANT}. `);
    if (unsureGrants.length) sentences.push('It is unknown whether ', ...first(unsureGrants, strong), ` ${GRANT}.`);
    byId('lead').append(...sentences);
    const regions = new Set(read.flatMap((account) => account.account.regions));
    const parts = [
      count(read.length, 'account'),
      count(regions.size, 'region'),
      count(principals.length, 'principal'),
      count(instances.length, 'instance'),
      `read ${time(data.generated)}`,
    ];
    byId('scope').append(parts.join(' \u00b7 '));

    const present = SEVERITIES.filter((level) => data.counts[level]);
    byId('tally').append(
      ...(present.length ? present : ['none']).map((level) =>
        el(
          'li',
          {},
          el(
            'a',
            {href: '#findings'},
            level === 'none'
              ? 'No findings'
              : [el('strong', {}, data.counts[level].toLocaleString('en')), severity(level)],
          ),
        ),
      ),
    );

    for (const account of data.accounts.filter((each) => each.error)) {
      byId('notices').append(
        el(
          'div',
          {class: 'notice'},
          el('strong', {}, 'Account ', text(account.account.label), ' was not read. '),
          text(account.error),
        ),
      );
    }
    const unread = read.flatMap((account) => account.unread.map((each) => ({...each, account: nameOf(account)})));
    if (unread.length) {
      byId('notices').append(
        el(
          'details',
          {class: 'notice'},
          el(
            'summary',
            {},
            `${count(unread.length, 'read')} denied. Dependent results are unknown.`,
          ),
          el(
            'ul',
            {},
            unread.map((each) =>
              el(
                'li',
                {},
                text(each.what),
                ' in ',
                text(each.account),
                each.region ? [', ', text(each.region)] : '',
                ': ',
                el('code', {}, text(each.action)),
                '. ',
                text(each.why),
              ),
            ),
          ),
        ),
      );
    }
  }

  // Map

  const mark = (state) => el('span', {class: `mark ${state}`, 'aria-hidden': 'true'});

  // Squares for instances. Each stands for as many instances as needed, so that the largest group fits.
  const largest = principals.reduce((most, each) => Math.max(most, each.instances), 0);
  const unit = [1, 10, 100, 1000].find((size) => largest / size <= UNITS_PER_ROW * 10) || 10000;

  function units(number) {
    const squares = Math.ceil(number / unit);
    const path = Array.from(
      {length: squares},
      (_, index) => `M${(index % UNITS_PER_ROW) * 8} ${Math.floor(index / UNITS_PER_ROW) * 8}h6v6h-6z`,
    ).join('');
    const width = Math.min(squares, UNITS_PER_ROW) * 8;
    const height = Math.ceil(squares / UNITS_PER_ROW) * 8;
    return el(
      'svg',
      {class: 'units', width, height, viewBox: `0 0 ${width} ${height}`, 'aria-hidden': 'true'},
      el('path', {d: path}),
    );
  }

  function instancesOf(list_, state) {
    if (!list_.length) return el('div', {class: 'sub'}, 'no instance');
    const total = count(list_.length, 'instance');
    if (state === 'no') return el('div', {}, units(list_.length), el('span', {class: 'sub'}, total));
    const many = list_.length > 3;
    const chips = list_
      .slice(0, 6)
      .map((each) =>
        el('span', {class: 'chip'}, each.name ? [text(each.name), many ? '' : [' ', id(each.id)]] : id(each.id)),
      );
    return el(
      'div',
      {},
      many && units(list_.length),
      el('div', {class: 'chips'}, chips),
      el(
        'span',
        {class: 'sub'},
        list_.length > chips.length
          ? `${total}, ${(list_.length - chips.length).toLocaleString('en')} not named here`
          : '',
      ),
    );
  }

  function branch(first, second) {
    return el('div', {class: second ? 'branch' : 'branch end'}, first, second);
  }

  function lane(principal) {
    const state = principal.can;
    const branches = principal.profiles.map((profile) =>
      branch(
        el(
          'div',
          {},
          el('div', {class: 'link'}, el('span', {}, text(profile.name))),
          el('div', {class: 'sub'}, 'instance profile'),
        ),
        instancesOf(profile.instances, state),
      ),
    );
    if (principal.kind === 'user') {
      const active = (principal.access_keys || []).filter((key) => key.active);
      branches.push(
        branch(
          el(
            'div',
            {},
            el('div', {}, active.length ? count(active.length, 'active access key') : 'no active access key'),
            el('div', {class: 'sub'}, principal.access ? 'on premises' : 'not for the agent'),
          ),
        ),
      );
    } else if (principal.nodes.length) {
      branches.push(
        branch(
          el('div', {}, el('div', {}, 'Systems Manager'), el('div', {class: 'sub'}, 'on premises')),
          instancesOf(principal.nodes, state),
        ),
      );
    } else if (!branches.length) branches.push(branch(el('div', {class: 'sub'}, 'no instance profile')));
    return el(
      'li',
      {class: `lane ${state}`},
      el(
        'div',
        {class: 'who'},
        el('div', {class: 'name link'}, mark(state), el('span', {}, text(principal.name))),
        el(
          'div',
          {class: 'sub'},
          el('span', {class: 'verb'}, verb(principal)),
          ` \u00b7 ${principal.kind}`,
          read.length > 1 && [' in ', text(principal.account)],
        ),
      ),
      el('div', {}, branches),
    );
  }

  function rest(title, note, list_, total, what) {
    const state = list_.some((each) => each.can === 'yes') ? 'admin' : 'no';
    return el(
      'li',
      {class: `lane rest ${state}`},
      el(
        'div',
        {class: 'who'},
        el('div', {class: 'name link'}, mark(state === 'no' ? 'no' : 'yes'), el('span', {}, title)),
        el('div', {class: 'sub'}, note),
      ),
      el(
        'div',
        {},
        branch(
          el('div', {}, el('div', {class: total ? 'link sub' : 'sub'}, el('span', {}, what))),
          total ? el('div', {class: 'sub'}, count(total, 'instance')) : null,
        ),
      ),
    );
  }

  const total = (list_) => list_.reduce((sum, each) => sum + each.instances, 0);

  function writeMap() {
    byId('legend').append(
      el('span', {class: 'yes'}, mark('yes'), 'can write'),
      el('span', {class: 'unknown'}, mark('unknown'), 'unknown'),
      el('span', {}, mark('no'), 'cannot write'),
      el(
        'span',
        {},
        unit === 1 ? 'A square is an instance.' : `A square is up to ${unit.toLocaleString('en')} instances.`,
      ),
    );
    const own = principals.filter((each) => !(each.is_administrator && !each.instances));
    own.sort(
      (a, b) =>
        RANK[a.can] - RANK[b.can] ||
        (a.writes === 'window') - (b.writes === 'window') ||
        a.is_administrator - b.is_administrator ||
        b.instances - a.instances ||
        (a.access === null) - (b.access === null),
    );
    const lanes = [];
    for (const state of ['yes', 'unknown', 'no']) {
      const all = own.filter((each) => each.can === state);
      const shown = all.slice(0, LANES);
      lanes.push(...shown.map(lane));
      const hidden = all.slice(LANES);
      if (!hidden.length) continue;
      for (const kind of ['role', 'user']) {
        const some = hidden.filter((each) => each.kind === kind);
        if (!some.length) continue;
        const active = some.flatMap((each) => each.access_keys || []).filter((key) => key.active).length;
        const node = rest(
          `${count(some.length, `more ${kind}`)}`,
          {yes: 'can write', unknown: 'unknown whether they can write', no: 'cannot write'}[state],
          some,
          total(some),
          kind === 'role'
            ? count(some.flatMap((each) => each.profiles).length, 'instance profile')
            : count(active, 'active access key'),
        );
        node.className = `lane rest ${state}`;
        node.querySelector('.mark').className = `mark ${state}`;
        lanes.push(node);
      }
    }
    const apart = administrators.filter((each) => !each.instances);
    if (apart.length) {
      lanes.push(
        rest(
          count(apart.length, 'principal'),
          `can write: ${apart.length === 1 ? 'it administers' : 'they administer'} the account`,
          apart,
          0,
          'no instance',
        ),
      );
    }
    for (const [some, note] of [
      [granting, GRANT],
      [unsureGrants, `unknown whether ${unsureGrants.length === 1 ? 'it' : 'they'} ${GRANT}`],
    ]) {
      const names = first(some, (each) => el('span', {}, `${each.kind} `, text(each.name)), LANES);
      if (some.length) lanes.push(rest(count(some.length, 'principal'), note, some, 0, names));
    }
    const other = instances.filter((each) => each.can === 'other');
    if (other.length)
      lanes.push(rest('Other roles', 'not in this report', [], other.length, count(others.size, 'instance profile')));
    const without = instances.filter((each) => !each.role);
    if (without.length)
      lanes.push(rest('No role', 'cannot write', [], without.length, 'no instance profile, or one without a role'));
    if (!lanes.length) lanes.push(el('li', {class: 'none'}, 'No principals were found.'));
    byId('map').append(...lanes);
  }

  // Timeline

  const MINUTE = 60e3;
  const DAY = 86400e3;

  function plot(ticks, rows, label) {
    return el(
      'ul',
      {class: 'plot', 'aria-label': label},
      el(
        'li',
        {class: 'grid', 'aria-hidden': 'true'},
        ticks.map(([position, name, more], index) =>
          el(
            'span',
            {
              class: `tick ${more || ''} ${position >= 100 ? 'last' : position <= 0 ? 'first' : ''}`,
              at: {left: `${position}%`},
            },
            el('span', {}, name),
          ),
        ),
      ),
      rows,
    );
  }

  // The distance from now on a logarithmic scale, because windows last minutes, and a forgotten one may be months old.
  const LIMIT = Math.log1p((90 * DAY) / MINUTE);
  const FUTURE = Math.log1p(DAY / MINUTE);
  const span = LIMIT + FUTURE;
  function position(distance) {
    const scaled = Math.sign(distance) * Math.log1p(Math.abs(distance) / MINUTE);
    return Math.min(100, Math.max(0, ((scaled + LIMIT) / span) * 100));
  }

  function writeWindows(into) {
    const all = principals.filter((each) => each.window && each.window.state !== 'absent');
    const quiet = all.filter((each) => each.window.state === 'closed');
    const shown = all
      .filter((each) => each.window.state !== 'closed')
      .sort((a, b) => RANK[a.can] - RANK[b.can])
      .slice(0, LANES * 2);
    const summary = [];
    if (!shown.length) summary.push('No window is open. ');
    if (quiet.length) summary.push(`${count(quiet.length, 'window')} closed. `);
    const hidden = all.length - quiet.length - shown.length;
    if (hidden > 0) summary.push(`${hidden} more are in the table of principals.`);
    const chart = el('div', {class: 'chart'}, el('h3', {}, 'Admin windows'), el('p', {class: 'note'}, summary));
    if (shown.length) {
      const rows = shown.map((each) => {
        const {state, deadline, instance_id: instance, parameters: names} = each.window;
        const until = deadline ? Date.parse(deadline) - each.now : null;
        const bar =
          until === null
            ? null
            : el('span', {
                class: `bar ${each.can} ${until < 0 ? 'expired' : ''}`,
                at: {left: `${position(Math.min(until, 0))}%`, width: `${Math.abs(position(until) - position(0))}%`},
              });
        const what = [state, deadline ? `deadline ${time(deadline)}` : 'no deadline'];
        return el(
          'li',
          {},
          el(
            'span',
            {class: 'label'},
            el('strong', {}, text(each.name)),
            sub(
              what.join(', '),
              instance ? [', for ', id(instance)] : '',
              names?.length ? `, ${count(names.length, 'parameter')}` : '',
            ),
          ),
          el('span', {class: 'track', 'aria-hidden': 'true'}, bar),
        );
      });
      const ticks = [
        [-30 * DAY, '30 days ago', 'minor'],
        [-DAY, '1 day'],
        [-60 * MINUTE, '1 hour', 'minor'],
        [0, 'audit', 'now'],
        [10 * MINUTE, '10 min', 'minor'],
        [60 * MINUTE, '1 h', 'minor'],
        [12 * 60 * MINUTE, '12 h'],
      ];
      chart.append(
        plot(
          ticks.map(([at, name, more]) => [position(at), name, more]),
          rows,
          'Admin windows and their deadlines',
        ),
      );
    }
    into.append(chart);
  }

  function writeKeys(into) {
    const chart = el('div', {class: 'chart'}, el('h3', {}, 'Ages of access keys'));
    into.append(chart);
    if (!keys.length) return chart.append(el('p', {class: 'note'}, 'No access keys were found.'));
    const age = (key) => Math.max(0, (key.now - Date.parse(key.created)) / DAY);
    // An active key of somebody who can write matters more than an old one.
    const ordered = [...keys].sort(
      (a, b) => (b.active && b.user.can === 'yes') - (a.active && a.user.can === 'yes') || age(b) - age(a),
    );
    const shown = ordered.slice(0, LANES).sort((a, b) => age(b) - age(a));
    const longest = Math.max(30, ...shown.map(age)) * 1.04;
    const at = (days) => 100 - (days / longest) * 100;
    const active = keys.filter((key) => key.active).length;
    chart.append(
      el(
        'p',
        {class: 'note'},
        `${count(keys.length, 'key')}, ${active.toLocaleString('en')} active. `,
        'A bar is the life of a key, a mark its last use; an inactive key is an outline.',
        keys.length > shown.length ? ` The ${shown.length} oldest are shown.` : '',
      ),
    );
    const rows = shown.map((key) => {
      const used = key.last_used ? (key.now - Date.parse(key.last_used)) / DAY : null;
      const last =
        used !== null ? `last used ${day(key.last_used)}` : key.last_used_known ? 'never used' : 'last use unknown';
      const status = key.active ? 'active' : 'inactive';
      return el(
        'li',
        {},
        el(
          'span',
          {class: 'label'},
          el('strong', {}, text(key.user.name)),
          sub(count(Math.floor(age(key)), 'day'), `, ${status}, ${last}`),
        ),
        el(
          'span',
          {class: 'track', 'aria-hidden': 'true'},
          el('span', {
            class: `bar ${key.active ? key.user.can : 'off'}`,
            at: {left: `${at(age(key))}%`, width: `${100 - at(age(key))}%`},
          }),
          used !== null && el('span', {class: 'pin', at: {left: `${at(used)}%`}}),
        ),
      );
    });
    const step = [7, 30, 90, 180, 365, 730, 1825].find((days) => longest / days <= 5) || 3650;
    const ticks = [];
    for (let days = step; days < longest; days += step) ticks.push([at(days), count(days, 'day')]);
    chart.append(plot([...ticks, [100, 'audit', 'now']], rows, 'Access keys and their ages'));
    return undefined;
  }

  // Tables

  const filter = {words: [], account: '', region: ''};
  const tables = [];
  const collator = new Intl.Collator('en', {numeric: true});

  function compare(a, b) {
    if (typeof a === 'number' && typeof b === 'number') return a - b;
    return collator.compare(String(a), String(b));
  }

  function passes(row, extra) {
    if (filter.account && row.account !== filter.account) return false;
    if (filter.region && 'region' in row && row.region && row.region !== filter.region) return false;
    if (!extra(row)) return false;
    return filter.words.every((word) => row.search.includes(word));
  }

  function searchable(row, columns) {
    return columns
      .map((column) => (column.search || column.value)(row))
      .concat(row.region || '', row.account || '')
      .join('\n')
      .toLowerCase();
  }

  // Columns have a label, value(row) for sorting and searching (null comes last), and cell(row) if they show more.
  function table(name, title, columns, rows, options = {}) {
    const several = new Set(read.map(nameOf)).size > 1 || data.accounts.length > 1;
    const shownColumns = columns.filter((column) => several || column.label !== 'Account');
    for (const row of rows) row.search = searchable(row, columns);
    const state = {
      column: Math.max(
        0,
        shownColumns.findIndex((column) => column.label === options.sort),
      ),
      down: Boolean(options.down),
      limit: PAGE,
      extra: () => true,
    };
    const counter = el('span', {class: 'count'});
    const heading = el('h2', {id: `${name}-title`}, title, counter);
    const filters = el('div', {class: 'filters'});
    const body = el('tbody', {role: 'rowgroup'});
    const headers = shownColumns.map((column, index) =>
      el(
        'th',
        {scope: 'col', role: 'columnheader', class: column.number ? 'number' : null},
        el(
          'button',
          {
            type: 'button',
            on: {
              click: () => {
                state.down = state.column === index ? !state.down : Boolean(column.down);
                state.column = index;
                draw();
              },
            },
          },
          column.label,
        ),
      ),
    );
    const none = el('p', {class: 'none', hidden: true});
    const shown = el(
      'table',
      {role: 'table', 'aria-labelledby': `${name}-title`},
      el('thead', {role: 'rowgroup'}, el('tr', {role: 'row'}, headers)),
      body,
    );
    const more = el('div', {class: 'more'});
    byId('tables').append(
      el(
        'section',
        {class: 'page', id: name, 'aria-labelledby': `${name}-title`, tabindex: '-1'},
        el('div', {class: 'head'}, heading, filters),
        el('div', {class: 'scroll'}, shown),
        none,
        more,
      ),
    );

    function rowOf(row) {
      return el(
        'tr',
        {role: 'row'},
        shownColumns.map((column, index) => {
          const value = column.cell ? column.cell(row) : column.value(row);
          const empty = value === null || value === undefined || value === '';
          const content = empty ? el('span', {class: 'muted'}, '\u2013') : value;
          const classes = [
            column.number && 'number',
            column.short && 'short',
            empty && 'empty',
            column.wide && 'wide',
            column.broad && 'broad',
            index === 0 && 'first',
          ]
            .filter(Boolean)
            .join(' ');
          return el(
            'td',
            {role: 'cell', 'data-label': column.label, class: classes || null},
            typeof content === 'object' ? el('div', {}, content) : el('div', {}, text(content)),
          );
        }),
      );
    }

    function draw() {
      const column = shownColumns[state.column];
      const found = rows.filter((row) => passes(row, state.extra));
      const keyed = found.map((row) => [(column.sort || column.value)(row), row]);
      const sign = state.down ? -1 : 1;
      keyed.sort(([a], [b]) => {
        const missing = (a === null || a === undefined) - (b === null || b === undefined);
        return missing || (a === null || a === undefined ? 0 : sign * compare(a, b));
      });
      headers.forEach((header, index) => {
        if (index === state.column) header.setAttribute('aria-sort', state.down ? 'descending' : 'ascending');
        else header.removeAttribute('aria-sort');
      });
      body.replaceChildren(...keyed.slice(0, state.limit).map(([, row]) => rowOf(row)));
      counter.textContent =
        found.length === rows.length
          ? rows.length.toLocaleString('en')
          : `${found.length.toLocaleString('en')} of ${rows.length.toLocaleString('en')}`;
      shown.hidden = !found.length;
      none.hidden = Boolean(found.length);
      none.textContent = rows.length ? 'Nothing matches the filter.' : options.empty || `No ${title.toLowerCase()}.`;
      more.replaceChildren();
      if (found.length > state.limit) {
        const next = Math.min(found.length - state.limit, 10 * PAGE);
        more.append(
          `The first ${state.limit.toLocaleString('en')} are shown.`,
          el(
            'button',
            {
              type: 'button',
              on: {
                click: () => {
                  const before = state.limit;
                  state.limit += next;
                  draw();
                  // The button has gone, so the focus moves to the first new row.
                  const row = body.rows[before];
                  row.tabIndex = -1;
                  row.focus({preventScroll: true});
                },
              },
            },
            `Show ${next} more`,
          ),
        );
      }
      return found.length;
    }

    function toggle(label, test) {
      const button = el('button', {type: 'button', 'aria-pressed': 'false'}, label);
      button.addEventListener('click', () => {
        button.setAttribute('aria-pressed', String(button.getAttribute('aria-pressed') === 'false'));
        const pressed = toggles.filter(([each]) => each.getAttribute('aria-pressed') === 'true');
        state.extra = (row) => !pressed.length || pressed.some(([, passing]) => passing(row));
        state.limit = PAGE;
        draw();
      });
      return [button, test];
    }
    const toggles = (options.toggles || []).map(([label, test]) => toggle(label, test));
    filters.append(...toggles.map(([button]) => button));
    draw();
    const made = {
      name,
      title,
      draw,
      reset() {
        state.limit = PAGE;
      },
      all(limit) {
        state.limit = limit;
      },
    };
    tables.push(made);
    return made;
  }

  const yes = (value) => (value === true ? 'yes' : value === false ? 'no' : value || null);
  const CAN = {yes: 'can write', no: 'cannot write', unknown: 'unknown', other: 'not in this report'};
  const status = (state, label = CAN[state]) => el('span', {class: `status ${state}`}, mark(state), label);
  const CAN_WRITE = [
    ['Can write', (row) => row.can === 'yes'],
    ['Unknown', (row) => row.can === 'unknown'],
  ];
  const account = {label: 'Account', value: (row) => row.account};

  function writeTables() {
    const present = SEVERITIES.filter((level) => data.findings.some((finding) => finding.severity === level));
    const nameById = new Map(read.map((each) => [each.account.id, nameOf(each)]));
    const found = data.findings.map((finding) => ({
      ...finding,
      account: nameById.get(finding.account) || finding.account,
    }));
    table(
      'findings',
      'Findings',
      [
        {
          label: 'Severity',
          short: true,
          value: (row) => row.severity,
          sort: (row) => SEVERITIES.indexOf(row.severity),
          cell: (row) => severity(row.severity),
        },
        {
          label: 'Object',
          value: (row) => row.object,
          wide: true,
          search: (row) => `${row.object}\n${row.rule}`,
          cell: (row) => [text(row.object), sub(text(row.rule))],
        },
        {
          label: 'Where',
          value: (row) => [row.account, row.region].filter(Boolean).join(', ') || null,
          cell: (row) => [text(row.account || ''), row.region ? sub(text(row.region)) : ''],
        },
        {
          label: 'Why, and what to do',
          value: (row) => row.why,
          wide: true,
          search: (row) => `${row.why}\n${row.fix || ''}`,
          cell: (row) => [text(row.why), row.fix ? el('div', {class: 'fix'}, el('b', {}, 'Fix '), text(row.fix)) : ''],
        },
      ],
      found,
      {
        toggles:
          present.length > 1
            ? present.map((level) => [
                `${data.findings.filter((finding) => finding.severity === level).length.toLocaleString('en')} ${level}`,
                (row) => row.severity === level,
              ])
            : [],
        empty: 'Nothing was found to be wrong.',
      },
    );

    table(
      'principals',
      'Principals',
      [
        {
          label: 'Name',
          value: (row) => row.name,
          wide: true,
          search: (row) => `${row.name}\n${row.arn || ''}`,
          cell: (row) => [text(row.name), sub(row.kind)],
        },
        account,
        {
          label: 'Configuration',
          short: true,
          value: (row) => verb(row),
          sort: (row) => RANK[row.can] * 4 + (row.is_administrator ? 2 : 0) + (row.writes === 'window' ? 1 : 0),
          cell: (row) => [
            status(row.can),
            row.writes_why ? sub(text(row.writes_why)) : row.is_administrator ? sub('It administers the account.') : '',
          ],
        },
        {
          label: 'Access',
          short: true,
          value: (row) => row.access,
          cell: (row) => row.access && [row.access, row.managed ? sub(row.managed) : ''],
        },
        {
          label: 'Window',
          short: true,
          value: (row) => row.window?.state || null,
          cell: (row) =>
            row.window && [text(row.window.state), row.window.deadline ? sub(time(row.window.deadline)) : ''],
        },
        {
          label: 'Policies',
          broad: true,
          value: (row) => [...(row.policies || []), ...(row.inline || [])].join(', ') || null,
          search: (row) => [...(row.policies || []), ...(row.inline || []), row.boundary || ''].join('\n'),
          cell: (row) => [
            ...(row.policies || []).map((name) => el('div', {}, text(name))),
            ...(row.inline || []).map((name) =>
              el('div', {}, text(name), ' ', el('span', {class: 'muted'}, '(inline)')),
            ),
            row.boundary ? el('div', {}, el('span', {class: 'muted'}, 'boundary '), text(row.boundary)) : '',
          ],
        },
        {
          label: 'Instances',
          number: true,
          down: true,
          value: (row) => row.instances,
          cell: (row) => row.instances.toLocaleString('en'),
        },
      ],
      principals,
      {sort: 'Configuration', toggles: CAN_WRITE.filter(([, test]) => principals.some(test))},
    );

    table(
      'instances',
      'Instances',
      [
        {
          label: 'Instance',
          value: (row) => row.id,
          wide: true,
          search: (row) => `${row.id}\n${row.name || ''}`,
          sort: (row) => row.name || row.id,
          cell: (row) => (row.name ? [text(row.name), sub(id(row.id))] : id(row.id)),
        },
        account,
        {label: 'Region', short: true, value: (row) => row.region},
        {label: 'State', short: true, value: (row) => row.state},
        {label: 'Instance profile', value: (row) => row.profile},
        {
          label: 'Configuration',
          short: true,
          value: (row) => CAN[row.can],
          sort: (row) => RANK[row.can],
          cell: (row) => status(row.can),
        },
        {label: 'In the inventory', short: true, value: (row) => yes(row.in_inventory)},
        {label: 'Restore tag', value: (row) => row.restore_tag},
      ],
      instances,
      {sort: 'Configuration', toggles: CAN_WRITE.filter(([, test]) => instances.some(test))},
    );

    const age = (key) => key.age_days ?? null;
    table(
      'keys',
      'Access keys',
      [
        {label: 'Key', value: (row) => row.id, wide: true, cell: (row) => id(row.id)},
        {label: 'User', value: (row) => row.user.name},
        account,
        {label: 'Status', short: true, value: (row) => (row.active ? 'active' : 'inactive')},
        {label: 'Age in days', number: true, down: true, value: age, cell: (row) => age(row) ?? 'unknown'},
        {
          label: 'Last used',
          short: true,
          value: (row) => row.last_used || null,
          cell: (row) => (row.last_used ? day(row.last_used) : row.last_used_known ? 'never' : 'unknown'),
        },
        {
          label: 'Saved',
          value: (row) => (row.saved === null ? 'unknown' : yes(row.saved)),
          cell: (row) => [
            row.saved === null || row.saved === undefined ? 'unknown' : yes(row.saved),
            row.saved_at ? sub(text(row.saved_at)) : '',
          ],
        },
      ],
      keys,
      {sort: 'Age in days', down: true},
    );

    const three = (value, bad) =>
      value === 'unknown' ? status('unknown', 'unknown') : value === 'no' ? el('strong', {}, bad) : 'yes';
    table(
      'parameters',
      'Parameters',
      [
        {label: 'Name', value: (row) => row.name, wide: true},
        account,
        {label: 'Region', short: true, value: (row) => row.region},
        {
          label: 'Size in bytes',
          number: true,
          short: true,
          down: true,
          value: (row) => row.size,
          cell: (row) => [
            row.size === null ? 'unknown' : row.size.toLocaleString('en'),
            row.limit ? sub(`of ${row.limit.toLocaleString('en')}`) : '',
          ],
        },
        {label: 'Version', number: true, down: true, value: (row) => row.version},
        {label: 'Modified', value: (row) => row.modified, cell: (row) => row.modified && time(row.modified)},
        {
          label: 'Readable by servers',
          short: true,
          value: (row) => row.readable_by_server,
          cell: (row) => three(row.readable_by_server, 'no'),
        },
        {
          label: 'Valid',
          short: true,
          value: (row) => row.valid,
          search: (row) => `${row.valid}\n${row.problem || ''}`,
          cell: (row) => [three(row.valid, 'no'), row.problem ? sub(text(row.problem)) : ''],
        },
      ],
      parameters,
    );
    table(
      'versions',
      'Versions',
      [
        {
          label: 'Name',
          value: (row) => row.name,
          wide: true,
          cell: (row) => [text(row.name), ...row.labels.map((label) => sub(text(label)))],
        },
        account,
        {label: 'Region', short: true, value: (row) => row.region},
        {label: 'Version', number: true, down: true, value: (row) => row.version},
        {label: 'Written', value: (row) => row.modified, cell: (row) => row.modified && time(row.modified)},
        {
          label: 'By',
          value: (row) => row.written_by,
          cell: (row) => [text(row.written_by), row.is_own ? '' : sub(el('strong', {}, 'not this inventory'))],
        },
        {
          label: 'Changes',
          wide: true,
          value: (row) => (row.changes || ['unknown']).join('\n'),
          cell: (row) => (row.changes || ['unknown']).map((change) => sub(text(change))),
        },
      ],
      versions,
    );
  }

  // Filter

  function choice(label, key, values) {
    if (values.length < 2) return null;
    return el(
      'select',
      {
        'aria-label': label,
        on: {
          change: (event) => {
            filter[key] = event.target.value;
            redraw();
          },
        },
      },
      el('option', {value: ''}, `All ${key}s`),
      values.sort(collator.compare).map((value) => el('option', {value}, text(value).textContent)),
    );
  }

  function redraw() {
    const counts = tables.map((each) => {
      each.reset();
      return `${each.draw()} ${each.title.toLowerCase()}`;
    });
    byId('status').textContent = `Shown: ${counts.join(', ')}`;
  }

  function writeToolbar() {
    let scheduled = 0;
    byId('toolbar').append(
      el(
        'div',
        {class: 'page'},
        el('input', {
          type: 'search',
          'aria-label': 'Search in all tables',
          placeholder: 'Search in all tables',
          autocomplete: 'off',
          spellcheck: 'false',
          on: {
            input: (event) => {
              filter.words = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
              cancelAnimationFrame(scheduled);
              scheduled = requestAnimationFrame(redraw);
            },
          },
        }),
        choice('Account', 'account', [...new Set(read.map(nameOf))]),
        choice('Region', 'region', [
          ...new Set([...instances, ...parameters, ...versions, ...data.findings].map((each) => each.region).filter(Boolean)),
        ]),
        el('span', {id: 'status', class: 'sr', role: 'status'}),
      ),
    );
  }

  addEventListener('beforeprint', () =>
    document.querySelectorAll('details').forEach((each) => {
      each.open = true;
    }),
  );
  addEventListener('beforeprint', () =>
    tables.forEach((each) => {
      each.all(each.name === 'findings' ? 500 : 100);
      each.draw();
    }),
  );
  addEventListener('afterprint', redraw);

  writeHead();
  writeMap();
  writeWindows(byId('timeline'));
  writeKeys(byId('timeline'));
  writeToolbar();
  writeTables();
})();
