import { DataSourcePlugin } from '@grafana/data';

import { ConfigEditor } from './components/ConfigEditor';
import { QueryEditor } from './components/QueryEditor';
import { DataSource } from './datasource';
import { EstopOptions, EstopQuery, EstopSecrets } from './types';

export const plugin = new DataSourcePlugin<DataSource, EstopQuery, EstopOptions, EstopSecrets>(DataSource)
  .setConfigEditor(ConfigEditor)
  .setQueryEditor(QueryEditor);
