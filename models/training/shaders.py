"""The rasteriser's GLSL programs."""

MAX_LAMPS = 4

# Reads an item's row (packed.py): placement, scale, material.
_ITEM = """
uniform sampler2D item_rows;
vec4 row(int item, int k) { return texelFetch(item_rows, ivec2(k, item), 0); }
vec3 placed(int item, vec3 local) {
    vec4 a = row(item, 0), b = row(item, 1), c = row(item, 2);
    return vec3(dot(a.xyz, local), dot(b.xyz, local), dot(c.xyz, local)) + vec3(a.w, b.w, c.w);
}
vec3 turned(int item, vec3 v) { return vec3(dot(row(item, 0).xyz, v), dot(row(item, 1).xyz, v), dot(row(item, 2).xyz, v)); }
"""

MESH_VERTEX = (
    """
#version 330
in vec3 in_position;
in vec3 in_normal;
in vec2 in_uv;
uniform mat4 clip_from_world;
uniform int first;
flat out int item;
out vec3 world;
out vec3 local;
out vec3 local_normal;
out vec3 normal;
out vec2 uv;
out float depth;
"""
    + _ITEM
    + """
void main() {
    item = first + gl_InstanceID;
    vec3 scale = row(item, 3).xyz;
    local = in_position * scale;
    local_normal = in_normal / scale;
    world = placed(item, local);
    normal = turned(item, local_normal);
    uv = in_uv;
    gl_Position = clip_from_world * vec4(world, 1.0);
    depth = gl_Position.w;
}
"""
)

# Where a surface point lies on its texture: the mesh's own uv, or tiles in metres on the axis the surface faces most.
_TEXTURE_POSITION = """
uniform sampler2DArray pictures;
vec3 texture_position(int item, vec3 local, vec3 local_normal, vec2 uv) {
    float tile_m = row(item, 3).w, layer = row(item, 4).w;
    vec2 uv_scale = row(item, 6).xy;
    if (tile_m <= 0.0) return vec3(uv * uv_scale, layer);
    vec3 a = abs(local_normal);
    vec2 p = a.x > a.y ? (a.x > a.z ? local.yz : local.xy) : (a.y > a.z ? local.xz : local.xy);
    return vec3(p / tile_m * uv_scale, layer);
}
"""

MESH_FRAGMENT = (
    """
#version 330
flat in int item;
in vec3 world;
in vec3 local;
in vec3 local_normal;
in vec3 normal;
in vec2 uv;
in float depth;
uniform sampler2DShadow shadow_map;
uniform mat4 shadow_from_world;
uniform vec3 eye;
uniform vec3 up;
uniform vec3 sun_direction;
uniform vec3 sun_colour;
uniform vec3 ambient_up;
uniform vec3 ambient_down;
uniform vec4 lamp_position[4];
uniform vec3 lamp_colour[4];
uniform vec4 fog;
uniform float exposure;
uniform float softness;
out vec4 picture_colour;
"""
    + _ITEM
    + _TEXTURE_POSITION
    + """
float lit(vec3 at) {
    vec3 p = (shadow_from_world * vec4(at, 1.0)).xyz * 0.5 + 0.5;
    if (any(lessThan(p, vec3(0.0))) || any(greaterThan(p, vec3(1.0)))) return 1.0;
    float step = 1.0 / float(textureSize(shadow_map, 0).x);
    float sum = 0.0;
    for (int i = 0; i < 12; ++i) {
        float turn = 2.39996 * float(i);
        vec2 offset = vec2(cos(turn), sin(turn)) * sqrt((float(i) + 0.5) / 12.0) * step * softness;
        sum += texture(shadow_map, vec3(p.xy + offset, p.z - 0.0015 - 0.0006 * softness));
    }
    return sum / 12.0;
}
void main() {
    vec4 texel = texture(pictures, texture_position(item, local, local_normal, uv));
    if (row(item, 6).z > 0.5 && texel.a < 0.5) discard;
    vec4 material = row(item, 5);
    vec3 albedo = pow(texel.rgb, vec3(2.2)) * row(item, 4).rgb;
    vec3 view = normalize(eye - world);
    vec3 n = normalize(normal);
    if (dot(n, view) < 0.0) n = -n;
    if (material.z > 0.0) {
        vec3 dx = dFdx(world), dy = dFdy(world);
        float height = dot(texel.rgb, vec3(0.33)) * material.z;
        vec3 r1 = cross(dy, n), r2 = cross(n, dx);
        float det = dot(dx, r1);
        vec3 bent = abs(det) * n - sign(det) * (dFdx(height) * r1 + dFdy(height) * r2);
        if (dot(bent, bent) > 0.0) n = normalize(bent);
    }
    vec3 sun = normalize(sun_direction);
    float facing = max(dot(n, sun), 0.0);
    float shadow = facing > 0.0 ? lit(world + normalize(normal) * sign(dot(normal, view)) * 0.004 * (1.0 + 0.05 * depth)) : 0.0;
    vec3 light = mix(ambient_down, ambient_up, dot(n, up) * 0.5 + 0.5) + sun_colour * facing * shadow;
    vec3 shine = sun_colour * shadow * pow(max(dot(n, normalize(sun + view)), 0.0), material.y);
    for (int i = 0; i < 4; ++i) {
        vec3 to_lamp = lamp_position[i].xyz - world;
        float r2 = dot(to_lamp, to_lamp);
        float reach = lamp_position[i].w;
        vec3 strength = lamp_colour[i] / (1.0 + r2 / (reach * reach));
        vec3 direction = to_lamp * inversesqrt(max(r2, 1e-6));
        light += strength * max(dot(n, direction), 0.0);
        shine += strength * pow(max(dot(n, normalize(direction + view)), 0.0), material.y);
    }
    vec3 radiance = mix(albedo * light, albedo * 1.5, material.w) + material.x * shine;
    radiance = mix(fog.rgb, radiance, exp(-fog.a * depth));
    picture_colour = vec4(pow(clamp(radiance * exposure, 0.0, 1.0), vec3(1.0 / 2.2)), 1.0);
}
"""
)

GEOMETRY_FRAGMENT = (
    """
#version 330
flat in int item;
in vec3 world;
in vec3 local;
in vec3 local_normal;
in vec3 normal;
in vec2 uv;
in float depth;
uniform vec3 eye;
uniform mat3 cam_from_world;
out vec4 geometry;
"""
    + _ITEM
    + _TEXTURE_POSITION
    + """
void main() {
    if (row(item, 6).z > 0.5 && texture(pictures, texture_position(item, local, local_normal, uv)).a < 0.5) discard;
    vec3 n = normalize(normal);
    if (dot(n, eye - world) < 0.0) n = -n;
    geometry = vec4(depth, floor(row(item, 6).w + 0.125), (cam_from_world * n).xy);
}
"""
)

SHADOW_VERTEX = (
    """
#version 330
in vec3 in_position;
uniform mat4 clip_from_world;
uniform int first;
"""
    + _ITEM
    + """
void main() {
    int item = first + gl_InstanceID;
    gl_Position = clip_from_world * vec4(placed(item, in_position * row(item, 3).xyz), 1.0);
    if (fract(row(item, 6).w) > 0.125) gl_Position = vec4(0.0, 0.0, 2.0, 1.0);
}
"""
)

SHADOW_FRAGMENT = """
#version 330
void main() {}
"""

# From the supersampled colours to the picture: averaged in linear light, as a sensor does, and darker where light hardly
# gets (occlusion.py says how; here with the surfaces' own normals).
RESOLVE_FRAGMENT = """
#version 330
uniform sampler2D colours;
uniform sampler2D shape;
uniform int samples;
uniform vec4 lens;
uniform vec3 shade;
uniform float turn;
uniform int row;
out vec4 picture_colour;
vec3 point(vec2 at, float z) { return vec3((at - lens.zw) / lens.xy * z, z); }
float closed(vec2 at, vec3 p, vec3 n, float radius_m) {
    vec2 size = vec2(textureSize(shape, 0));
    float reach = min(radius_m * lens.x / p.z, 0.25 * size.x), total = 0.0, weights = 0.0;
    for (int k = 0; k < 12; ++k) {
        float angle = turn + 0.5236 * float(k);
        for (int s = 0; s < 3; ++s) {
            float part = (k & 1) == 1 ? (s == 0 ? 0.2 : s == 1 ? 0.5 : 0.9) : (s == 0 ? 0.1 : s == 1 ? 0.35 : 0.7);
            vec2 there = at + vec2(cos(angle), sin(angle)) * part * reach;
            if (any(lessThan(there, vec2(0.0))) || any(greaterThan(there, size))) { weights += 0.4; continue; }
            vec4 g = texelFetch(shape, ivec2(there), 0);
            if (g.y < 0.5) { weights += 0.4; continue; }
            vec3 d = point(floor(there) + 0.5, g.x) - p;
            float far = length(d) + 1e-6;
            total += max(dot(d, n) / far - 0.12, 0.0) * clamp(1.5 - far / radius_m, 0.0, 1.0);
            weights += 0.4;
        }
    }
    return clamp(total / weights, 0.0, 1.0);
}
void main() {
    vec2 here = gl_FragCoord.xy - vec2(0.0, float(row));
    ivec2 at = ivec2(here);
    vec3 sum = vec3(0.0);
    for (int y = 0; y < samples; ++y)
        for (int x = 0; x < samples; ++x)
            sum += pow(texelFetch(colours, at * samples + ivec2(x, y), 0).rgb, vec3(2.2));
    sum /= float(samples * samples);
    vec4 g = texelFetch(shape, at, 0);
    if (shade.z > 0.0 && g.y > 0.5) {
        vec3 n = vec3(g.zw, -sqrt(max(1.0 - dot(g.zw, g.zw), 0.0)));
        vec3 p = point(here, g.x);
        sum *= exp(-shade.z * (0.5 * closed(here, p, n, shade.x) + closed(here, p, n, shade.y)));
    }
    picture_colour = vec4(pow(clamp(sum, 0.0, 1.0), vec3(1.0 / 2.2)), 1.0);
}
"""

SKY_VERTEX = """
#version 330
in vec2 corner;
out vec2 clip;
void main() { clip = corner; gl_Position = vec4(corner, 0.0, 1.0); }
"""

SKY_FRAGMENT = """
#version 330
in vec2 clip;
uniform mat3 world_from_clip;
uniform vec3 up;
uniform vec3 zenith;
uniform vec3 horizon;
uniform vec3 sun_direction;
uniform vec3 sun_colour;
uniform vec3 sky;
out vec4 picture_colour;
float hash(vec2 p) { return fract(sin(dot(p, vec2(12.9898, 78.233))) * 43758.5453); }
float noise(vec2 p) {
    vec2 i = floor(p), f = fract(p);
    f = f * f * (3.0 - 2.0 * f);
    return mix(mix(hash(i), hash(i + vec2(1, 0)), f.x), mix(hash(i + vec2(0, 1)), hash(i + vec2(1, 1)), f.x), f.y);
}
void main() {
    vec3 ray = normalize(world_from_clip * vec3(clip, 1.0));
    float height = dot(ray, up);
    vec3 radiance = mix(horizon, zenith, pow(clamp(height, 0.0, 1.0), 0.55));
    if (sky.x > 0.0) {
        vec3 flat_ray = ray - height * up;
        vec2 p = (abs(up.z) > 0.5 ? flat_ray.xy : flat_ray.xz) / (abs(height) + 0.15) * 1.7 + sky.y;
        float cloud = 0.0, weight = 0.5;
        for (int i = 0; i < 5; ++i) { cloud += weight * noise(p); p = p * 2.03 + 7.1; weight *= 0.5; }
        cloud = smoothstep(1.0 - sky.x, 1.25 - sky.x * 0.6, cloud + 0.25) * smoothstep(0.0, 0.12, height);
        radiance = mix(radiance, vec3(0.95) * (0.5 + 0.2 * sun_colour), cloud);
    }
    radiance += sun_colour * 0.6 * pow(max(dot(ray, normalize(sun_direction)), 0.0), 300.0);
    picture_colour = vec4(pow(clamp(radiance * sky.z, 0.0, 1.0), vec3(1.0 / 2.2)), 1.0);
}
"""
