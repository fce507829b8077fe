-- Health of an InferenceScenario, from its conditions. The status speaks of a generation of the spec; as long as that
-- is not the present one, nothing in it counts.

local function answer(status, message)
  return {status = status, message = message}
end

local function text(condition)
  if condition.message ~= nil and condition.message ~= "" then
    return condition.message
  end
  return condition.reason or condition.type
end

local metadata = obj.metadata or {}
local annotations = metadata.annotations or {}
local status = obj.status or {}

if metadata.deletionTimestamp ~= nil then
  return answer("Progressing", "Being deleted")
end
if annotations["inferplan.dev/paused"] == "true" then
  return answer("Suspended", "Paused by the annotation inferplan.dev/paused")
end
if status.observedGeneration == nil or status.observedGeneration ~= metadata.generation then
  return answer("Progressing", "Waiting for the operator to read this generation")
end

local conditions = {}
for _, condition in ipairs(status.conditions or {}) do
  conditions[condition.type] = condition
end

local function is(type, value)
  return conditions[type] ~= nil and conditions[type].status == value
end

if is("Stalled", "True") then
  return answer("Degraded", text(conditions.Stalled))
end
if is("PlanApproved", "False") and conditions.PlanApproved.reason == "AwaitingApproval" then
  return answer("Suspended", text(conditions.PlanApproved))
end
if is("Reconciling", "True") then
  return answer("Progressing", text(conditions.Reconciling))
end
if is("Ready", "True") then
  return answer("Healthy", status.summary or text(conditions.Ready))
end
if conditions.Ready ~= nil then
  return answer("Progressing", text(conditions.Ready))
end
return answer("Progressing", "Waiting for the operator")
