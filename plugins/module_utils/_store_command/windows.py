# Copyright: cwagent.iam contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The same scripts for Windows, with the AWS Tools for PowerShell, which AWS's images of Windows have. Pure.

They have not been run: no test has an instance with Windows. Tests hold their text to that of the other scripts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ansible_collections.cwagent.iam.plugins.module_utils._run_command.script import to_base64, to_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ansible_collections.cwagent.iam.plugins.module_utils._store_command.model import StoreRequest

SCHEMA_FILE = r"C:\Program Files\Amazon\AmazonCloudWatchAgent\amazon-cloudwatch-agent-schema.json"

_PREAMBLE = r"""
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
$request = [Text.Encoding]::UTF8.GetString([Convert]::FromBase64String('REQUEST')) | ConvertFrom-Json
$metadata = 'http://169.254.169.254/latest'
$hasTools = [bool](Get-Command Write-SSMParameter -ErrorAction SilentlyContinue)

function Get-Metadata($path) {
    $ttl = @{ 'X-aws-ec2-metadata-token-ttl-seconds' = '60' }
    $token = Invoke-RestMethod -Method Put -Uri "$metadata/api/token" -Headers $ttl -TimeoutSec 5
    Invoke-RestMethod -Uri "$metadata/meta-data/$path" -Headers @{ 'X-aws-ec2-metadata-token' = $token } -TimeoutSec 5
}

function Write-Result($result) {
    $text = $result | ConvertTo-Json -Depth 5 -Compress
    # JSON in ASCII, whatever the code page.
    [regex]::Replace($text, '[^\x20-\x7e]', { param($c) '\u' + ([int][char]$c.Value).ToString('x4') })
}
"""

_STORE = r"""
# The credentials of the instance and no others. Each try reads them anew.
function Get-Credential {
    $role = (Get-Metadata 'iam/security-credentials/').Trim()
    if ($role -cne $request.role) { return $null }
    $keys = Get-Metadata "iam/security-credentials/$role"
    New-AWSCredential -AccessKey $keys.AccessKeyId -SecretKey $keys.SecretAccessKey -SessionToken $keys.Token
}

# Take the next step for a parameter.
function Step-Parameter($p, $credential) {
    $common = @{ Name = $p.name; Region = $p.region; Credential = $credential }
    try { $found = Get-SSMParameter @common }
    catch { if ("$_ $($_.Exception)" -notmatch 'ParameterNotFound') { throw } else { $found = $null } }
    $p.found = if ($found) { [int]$found.Version } else { 0 }
    # A read need not show yet what was written a moment ago, here or before the comparison.
    if ($p.found -lt $p.version) { return }
    if ($found -and $found.Value -ceq $p.value) { $p.status = 'stored'; return }
    if ($p.found -gt $p.version) { $p.status = 'changed'; return }
    if ($p.written -or [DateTimeOffset]::UtcNow.ToUnixTimeSeconds() -ge $request.deadline) { return }
    try {
        # Parameter Store itself refuses to create a parameter that was created meanwhile.
        Write-SSMParameter @common -Value $p.value -Type String -Tier $p.tier -Overwrite ($p.version -gt 0) | Out-Null
        $p.written = $true
    }
    catch {
        $text = "$_ $($_.Exception)"
        if ($p.can_change_tier -and $p.tier -eq 'Standard' -and $text.Replace($p.name, '') -match 'advanced') {
            $p.tier = 'Advanced' # AWS does not move a parameter back from it
        }
        elseif ($text -match 'ValidationException|LimitExceeded') { $p.status = 'failed' }
        throw
    }
    Step-Parameter $p $credential
}

$problem = 'no-cli'
if ($hasTools) {
    $problem = 'no-role'
    $deadline = $request.deadline
    while (($now = [DateTimeOffset]::UtcNow.ToUnixTimeSeconds()) -lt $deadline) {
        try { $credential = Get-Credential } catch { $credential = $null }
        if ($credential) {
            if ($problem) { $deadline = [Math]::Min($deadline, $now + $request.permission_seconds) }
            $problem = ''
            foreach ($p in $request.parameters | Where-Object { $_.status -eq 'waiting' }) {
                $p.error = ''
                try { Step-Parameter $p $credential } catch { $p.error = "$_" }
            }
            if (-not ($request.parameters | Where-Object { $_.status -eq 'waiting' })) { break }
        }
        Start-Sleep -Seconds 2
    }
}
$results = if ($problem) { @() } else {
    @($request.parameters | ForEach-Object {
        @{ region = $_.region; name = $_.name; status = $_.status; version = $_.found; error = $_.error }
    })
}
Write-Result @{ problem = $problem; parameters = @($results) }
if ($problem) { exit 1 }
"""

_CHECK = r"""
$regions = @{}
$version = ''
if ($hasTools) {
    $version = "$((Get-Command Write-SSMParameter).Module) $((Get-Command Write-SSMParameter).Version)"
    foreach ($region in $request.regions) {
        try { Get-SSMParameter -Name AmazonCloudWatch-check -Region $region | Out-Null; $regions[$region] = '' }
        # Any answer of AWS proves the way.
        catch { $regions[$region] = if ("$($_.Exception.GetType()) $($_.Exception.InnerException.GetType())" -match
            'SimpleSystemsManagement') { '' } else { "$_" } }
    }
}
$schema = ''
if (Test-Path $request.schema_file) {
    $bytes = [IO.File]::ReadAllBytes($request.schema_file)
    $memory = New-Object IO.MemoryStream
    $packer = New-Object IO.Compression.GZipStream($memory, [IO.Compression.CompressionMode]::Compress)
    $packer.Write($bytes, 0, $bytes.Length)
    $packer.Close()
    $schema = [Convert]::ToBase64String($memory.ToArray())
    if ($schema.Length -ge $request.max_schema) { $schema = '' }
}
Write-Result @{ cli = $version; regions = $regions; schema = $schema }
"""


def check_script(regions: Sequence[str], max_schema: int) -> str:
    """Return the script that checks an instance. It changes nothing."""
    return _render({"regions": list(regions), "schema_file": SCHEMA_FILE, "max_schema": max_schema}, _CHECK)


def store_script(request: StoreRequest) -> str:
    """Return the script that stores configurations."""
    parameters = [
        {**each.__dict__, "found": 0, "status": "waiting", "error": "", "written": False} for each in request.writes
    ]
    settings = {"role": request.role, "deadline": request.deadline, "permission_seconds": request.permission_seconds}
    return _render({**settings, "parameters": parameters}, _STORE)


def _render(request: dict[str, object], body: str) -> str:
    return _PREAMBLE.replace("REQUEST", to_base64(to_json(request))) + body
