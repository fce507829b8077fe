{{- /* The name of the release's objects: the release's name says "inferplan" once. */ -}}
{{- define "inferplan.name" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- /* The name of cluster-wide objects: releases of the same name may live in several namespaces. */ -}}
{{- define "inferplan.clusterName" -}}
{{- if eq .Release.Name .Release.Namespace -}}
{{- include "inferplan.name" . -}}
{{- else -}}
{{- printf "%s-%s" .Release.Namespace (include "inferplan.name" .) | trunc 120 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "inferplan.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end -}}

{{- define "inferplan.labels" -}}
{{ include "inferplan.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: inferplan
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "inferplan.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "inferplan.name" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{- define "inferplan.image" -}}
{{- $tag := .Values.image.tag | default .Chart.AppVersion -}}
{{- if .Values.image.digest -}}
{{- printf "%s:%s@%s" .Values.image.repository $tag .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository $tag -}}
{{- end -}}
{{- end -}}

{{- /* The one who is granted things. */ -}}
{{- define "inferplan.subjects" -}}
- kind: ServiceAccount
  name: {{ include "inferplan.serviceAccount" . }}
  namespace: {{ .Release.Namespace }}
{{- end -}}
