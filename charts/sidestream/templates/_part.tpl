{{/*
A part's ServiceAccount, Deployment and PodDisruptionBudget:
(dict "root" $ "part" "mapping" "podLabels" (dict) "talksToApiServer" true "env" (list) "tlsSecret" "")
With a tlsSecret, mounted at /tls, it speaks HTTPS.
*/}}
{{- define "sidestream.workload" -}}
{{- $values := index .root.Values .part }}
{{- $name := include "sidestream.part" . }}
{{- $scheme := ternary "HTTPS" "HTTP" (not (empty .tlsSecret)) }}
apiVersion: v1
kind: ServiceAccount
metadata:
  name: {{ $name }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "sidestream.labels" .root | nindent 4 }}
    app.kubernetes.io/component: {{ .part }}
  {{- with $values.serviceAccount.annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
automountServiceAccountToken: false
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ $name }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "sidestream.labels" .root | nindent 4 }}
    app.kubernetes.io/component: {{ .part }}
spec:
  replicas: {{ $values.replicas }}
  selector:
    matchLabels:
      {{- include "sidestream.selector" . | nindent 6 }}
  template:
    metadata:
      labels:
        {{- include "sidestream.labels" .root | nindent 8 }}
        app.kubernetes.io/component: {{ .part }}
        {{- merge (deepCopy $values.podLabels) .podLabels | toYaml | nindent 8 }}
      {{- with $values.podAnnotations }}
      annotations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
    spec:
      serviceAccountName: {{ $name }}
      automountServiceAccountToken: {{ .talksToApiServer }}
      enableServiceLinks: false
      {{- with .root.Values.imagePullSecrets }}
      imagePullSecrets:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $values.priorityClassName }}
      priorityClassName: {{ . }}
      {{- end }}
      securityContext:
        runAsNonRoot: true
        runAsUser: 65532
        runAsGroup: 65532
        seccompProfile: {type: RuntimeDefault}
      containers:
      - name: {{ .part }}
        image: {{ include "sidestream.image" .root }}
        imagePullPolicy: {{ .root.Values.image.pullPolicy }}
        args: [{{ .part }}]
        env:
        - name: SIDESTREAM_NAMESPACE
          valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
        - {name: SIDESTREAM_HTTP_PORT, value: "8080"}
        - {name: SIDESTREAM_LOG_FORMAT, value: {{ .root.Values.log.format }}}
        - {name: SIDESTREAM_LOG_LEVEL, value: {{ .root.Values.log.level }}}
        - {name: SIDESTREAM_HEADER_MODE, value: {{ .root.Values.header.mode }}}
        - {name: SIDESTREAM_BAGGAGE_KEYS, value: {{ join "," .root.Values.header.baggageKeys | quote }}}
        - {name: SIDESTREAM_HEADER_NAME, value: {{ .root.Values.header.name | quote }}}
        {{- with .env }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
        ports:
        - {name: http, containerPort: 8080}
        # Starting takes a second, and much longer where many pods start on few cores.
        startupProbe:
          httpGet: {path: /healthz, port: http, scheme: {{ $scheme }}}
          periodSeconds: 1
          timeoutSeconds: 3
          failureThreshold: 120
        livenessProbe:
          httpGet: {path: /healthz, port: http, scheme: {{ $scheme }}}
          periodSeconds: 10
          timeoutSeconds: 5
          failureThreshold: 6
        readinessProbe:
          httpGet: {path: /readyz, port: http, scheme: {{ $scheme }}}
          periodSeconds: 2
          timeoutSeconds: 3
        resources:
          {{- toYaml $values.resources | nindent 10 }}
        securityContext:
          allowPrivilegeEscalation: false
          readOnlyRootFilesystem: true
          capabilities: {drop: [ALL]}
        volumeMounts:
        - {name: tmp, mountPath: /tmp}
        {{- if .tlsSecret }}
        - {name: tls, mountPath: /tls, readOnly: true}
        {{- end }}
      volumes:
      - name: tmp
        emptyDir: {sizeLimit: 16Mi}
      {{- with .tlsSecret }}
      - name: tls
        secret: {secretName: {{ . | quote }}}
      {{- end }}
      topologySpreadConstraints:
      - maxSkew: 1
        topologyKey: kubernetes.io/hostname
        whenUnsatisfiable: ScheduleAnyway
        labelSelector:
          matchLabels:
            {{- include "sidestream.selector" . | nindent 12 }}
      {{- with $values.nodeSelector }}
      nodeSelector:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $values.tolerations }}
      tolerations:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- with $values.affinity }}
      affinity:
        {{- toYaml . | nindent 8 }}
      {{- end }}
{{- if $values.podDisruptionBudget.enabled }}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ $name }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "sidestream.labels" .root | nindent 4 }}
    app.kubernetes.io/component: {{ .part }}
spec:
  maxUnavailable: {{ $values.podDisruptionBudget.maxUnavailable }}
  selector:
    matchLabels:
      {{- include "sidestream.selector" . | nindent 6 }}
{{- end }}
{{- end }}

{{/* A part's Service on port 8080: (dict "root" $ "part" "mapping" "protocol" "https"); without a protocol it is http. */}}
{{- define "sidestream.service" -}}
apiVersion: v1
kind: Service
metadata:
  name: {{ include "sidestream.part" . }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "sidestream.labels" .root | nindent 4 }}
    app.kubernetes.io/component: {{ .part }}
spec:
  selector:
    {{- include "sidestream.selector" . | nindent 4 }}
  ports:
  {{- $protocol := default "http" .protocol }}
  - {name: {{ $protocol }}, port: 8080, targetPort: http, appProtocol: {{ $protocol }}}
{{- end }}

{{/* Binds a part's ServiceAccount to the ClusterRole of the same name: (dict "root" $ "part" "mapping"). */}}
{{- define "sidestream.clusterRoleBinding" -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: {{ include "sidestream.part" . }}
  labels:
    {{- include "sidestream.labels" .root | nindent 4 }}
    app.kubernetes.io/component: {{ .part }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: {{ include "sidestream.part" . }}
subjects:
- kind: ServiceAccount
  name: {{ include "sidestream.part" . }}
  namespace: {{ .root.Release.Namespace }}
{{- end }}
