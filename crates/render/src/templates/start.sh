#!/bin/sh
# Member {{ name }} of cluster {{ cluster }}. Becomes etcd, with nothing of the caller's environment.
exec env -i PATH=/usr/bin:/bin{% for line in command %} \
    {{ line }}
{%- endfor %}
