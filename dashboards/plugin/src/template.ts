import { ScopedVars } from '@grafana/data';
import { TemplateSrv } from '@grafana/runtime';

import { EstopQuery } from './types';

/** Puts the values of variables in their places. A variable with several values becomes several values, and never a text of them. */
export function expand(templates: TemplateSrv, texts: string[] | undefined, scoped: ScopedVars): string[] {
  return (texts ?? []).flatMap((text) => {
    const whole = /^(\$\w+|\$\{\w+\}|\[\[\w+\]\])$/.test(text);
    if (!whole) {
      return [templates.replace(text, scoped)];
    }
    let values: string[] | undefined;
    const plain = templates.replace(text, scoped, (value: string | string[]) => {
      values = Array.isArray(value) ? value : [value];
      return '';
    });
    return values ?? [plain];
  });
}

/** The query with the values of variables. Filters without a value are left out. */
export function interpolate(templates: TemplateSrv, query: EstopQuery, scoped: ScopedVars): EstopQuery {
  const filters: Record<string, string[]> = {};
  for (const [name, values] of Object.entries(query.filters ?? {})) {
    const all = expand(templates, values, scoped).filter((v) => v !== '');
    if (all.length > 0) {
      filters[name] = all;
    }
  }
  return {
    ...query,
    tenants: expand(templates, query.tenants, scoped).filter((v) => v !== ''),
    filters,
    agent: query.agent && templates.replace(query.agent, scoped),
    id: query.id && templates.replace(query.id, scoped),
  };
}
