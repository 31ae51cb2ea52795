{{- define "labels" -}}
app.kubernetes.io/name: mlflow-kserve
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
{{- end }}

{{- define "selector" -}}
app.kubernetes.io/name: mlflow-kserve
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{- define "account" -}}
{{- if .Values.service_account.create }}{{ default .Release.Name .Values.service_account.name }}
{{- else }}{{ required "service_account.name: expected that of an existing ServiceAccount, or service_account.create" .Values.service_account.name }}
{{- end }}
{{- end }}

{{- define "claim" -}}
{{ default .Release.Name .Values.database.claim.name }}
{{- end }}

{{- define "refusals" -}}
{{- if and (gt (int .Values.replicas) 1) (not .Values.database.secret) }}
{{- fail "replicas: SQLite is for one control plane: expected database.secret, or 1" }}
{{- end }}
{{- if not (or .Values.admin_tokens.secret .Values.jwt.jwks) }}
{{- fail "admin_tokens.secret: nobody could ask the control plane: expected it, or jwt.jwks" }}
{{- end }}
{{- if or .Values.jwt.jwks .Values.jwt.issuer .Values.jwt.audience }}
{{- if not (and .Values.jwt.jwks .Values.jwt.issuer .Values.jwt.audience) }}
{{- fail "jwt: jwks, issuer and audience belong together" }}
{{- end }}
{{- end }}
{{- if and (or .Values.jwt.deployer_scope .Values.jwt.approver_scope .Values.jwt.admin_scope) (not .Values.jwt.jwks) }}
{{- fail "jwt: scopes need jwks, issuer and audience" }}
{{- end }}
{{- if and .Values.monitoring.enabled (not .Values.monitoring.token.secret) }}
{{- fail "monitoring.token.secret: the control plane shows its metrics to those who may view: expected a Secret with a token" }}
{{- end }}
{{- end }}
