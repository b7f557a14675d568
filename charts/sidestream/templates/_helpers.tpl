{{/* Name of the release's objects. */}}
{{- define "sidestream.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{/* Labels of every object that helm installs. They differ from those on what the operator makes (managed-by). */}}
{{- define "sidestream.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{/* Labels that select the pods of one part: (dict "root" $ "part" "mapping"). */}}
{{- define "sidestream.selector" -}}
app.kubernetes.io/name: {{ default .root.Chart.Name .root.Values.nameOverride }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .part }}
{{- end }}

{{/* Name of one part's objects: (dict "root" $ "part" "mapping"). */}}
{{- define "sidestream.part" -}}
{{ include "sidestream.fullname" .root }}-{{ .part }}
{{- end }}

{{- define "sidestream.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end }}
{{- end }}

{{/* Where the operator asks whether a route is in the proxies; empty without a prober. */}}
{{- define "sidestream.proberUrl" -}}
{{- if and .Values.prober.enabled .Values.prober.url }}
{{- fail "prober.url names a prober of your own: set prober.enabled to false as well, or leave prober.url empty." }}
{{- end }}
{{- if .Values.prober.enabled -}}
http://{{ include "sidestream.part" (dict "root" . "part" "prober") }}.{{ .Release.Namespace }}.svc:8080
{{- else -}}
{{ .Values.prober.url }}
{{- end }}
{{- end }}

{{/* How applications ask the mapping service. */}}
{{- define "sidestream.mappingProtocol" -}}
{{ ternary "https" "http" (not (empty .Values.mapping.tls.secretName)) }}
{{- end }}
